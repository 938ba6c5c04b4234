"""The reader of compiled programs, by small programs whose bytes are counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from bodycomp_jax.benchmark.hlo import Program, arrays_of

LOOP = """
%body (state: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %state = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[]{:T(128)S(6)} get-tuple-element(%state), index=0
  %x = bf16[8,128]{1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %y = bf16[8,128]{1,0:T(8,128)(2,1)} negate(%x), backend_config={"estimated_cycles":"7"}
  ROOT %next = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}) tuple(%i, %y)
}

%count (i: s32[]) -> pred[] {
  %i = s32[]{:T(128)S(6)} parameter(0)
  %limit = s32[]{:T(128)} constant(64)
  ROOT %more = pred[]{:T(512)S(6)} compare(%i, %limit), direction=LT
}

%go_on (state: (s32[], bf16[8,128])) -> pred[] {
  %state = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[]{:T(128)S(6)} get-tuple-element(%state), index=0
  ROOT %more = pred[]{:T(512)S(6)} fusion(%i), kind=kLoop, calls=%count
}

ENTRY %main (start: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %start = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}) parameter(0)
  ROOT %loop = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}) while(%start), condition=%go_on, body=%body
}
"""  # noqa: E501
SLICES = """
%band (image: s16[512,512], row: s32[]) -> f32[64,512] {
  %image = s16[512,512]{1,0} parameter(0)
  %row = s32[] parameter(1)
  %zero = s32[] constant(0)
  %flat = s16[512,512]{1,0} bitcast(%image)
  %part = s16[64,512]{1,0} dynamic-slice(%flat, %row, %zero), dynamic_slice_sizes={64,512}
  ROOT %wide = f32[64,512]{1,0} convert(%part)
}

%outer (image: s16[512,512], row: s32[]) -> f32[64,512] {
  %image = s16[512,512]{1,0} parameter(0)
  %row = s32[] parameter(1)
  ROOT %inner = f32[64,512]{1,0} fusion(%image, %row), kind=kLoop, calls=%band
}

%store (result: f32[512,512], band: f32[64,512], row: s32[]) -> f32[512,512] {
  %band = f32[64,512]{1,0} parameter(1)
  %row = s32[] parameter(2)
  %zero = s32[] constant(0)
  %result = f32[512,512]{1,0} parameter(0)
  ROOT %stored = f32[512,512]{1,0} dynamic-update-slice(%result, %band, %row, %zero)
}

%both (image: s16[512,512], row: s32[]) -> s16[512,512] {
  %image = s16[512,512]{1,0} parameter(0)
  %row = s32[] parameter(1)
  %part = s16[64,512]{1,0} dynamic-slice(%image, %row, %row), dynamic_slice_sizes={64,512}
  %spread = s16[512,512]{1,0} pad(%part, %row), padding=0_448x0_0
  ROOT %sum = s16[512,512]{1,0} add(%image, %spread)
}

ENTRY %main (image: s16[512,512], result: f32[512,512], row: s32[]) -> f32[512,512] {
  %image = s16[512,512]{1,0} parameter(0)
  %result = f32[512,512]{1,0} parameter(1)
  %row = s32[] parameter(2)
  %read = f32[64,512]{1,0} fusion(%image, %row), kind=kLoop, calls=%outer
  %written = f32[512,512]{1,0} fusion(%result, %read, %row), kind=kLoop, calls=%store
  %whole = s16[512,512]{1,0} fusion(%image, %row), kind=kLoop, calls=%both
  ROOT %bare = f32[8,512]{1,0} dynamic-slice(%written, %row, %row), dynamic_slice_sizes={8,512}
}
"""
CHIP = """
ENTRY %main (a: f32[1024], b: f32[8,128]) -> f32[1024] {
  %a = f32[1024]{0:T(1024)} parameter(0)
  %b = f32[8,128]{1,0:T(8,128)} parameter(1)
  %copy-start = (f32[1024]{0:T(1024)S(1)}, f32[1024]{0:T(1024)}, u32[]{:S(2)}) copy-start(%a)
  %copy-done = f32[1024]{0:T(1024)S(1)} copy-done(%copy-start)
  %slice-start = ((f32[8,128]{1,0:T(8,128)}), f32[2,128]{1,0:T(2,128)S(1)}, u32[]{:S(2)}) slice-start(%b), slice={[0:2], [0:128]}
  %slice-done = f32[2,128]{1,0:T(2,128)S(1)} slice-done(%slice-start)
  %room = f32[1024]{0:T(1024)} custom-call(), custom_call_target="AllocateBuffer"
  %on-chip = f32[1024]{0:T(1024)S(1)} negate(%copy-done)
  ROOT %out = f32[1024]{0:T(1024)} add(%on-chip, %copy-done), metadata={op_name="jit(step)/add"}
}
"""  # noqa: E501
CALLS = """
%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

%taken (image: f32[16], at: s32[4,1]) -> f32[4] {
  %image = f32[16]{0} parameter(0)
  %at = s32[4,1]{1,0} parameter(1)
  ROOT %some = f32[4]{0} gather(%image, %at), offset_dims={}, slice_sizes={1}
}

ENTRY %main (x: bf16[1,8,8,4], k: bf16[4,3,5,4], at: s32[4,1]) -> f32[] {
  %x = bf16[1,8,8,4]{3,2,1,0} parameter(0)
  %k = bf16[4,3,5,4]{3,2,1,0} parameter(1)
  %at = s32[4,1]{1,0} parameter(2)
  %conv = (bf16[1,8,8,4]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), window={size=3x5 pad=1_1x2_2}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward"
  %y = bf16[1,8,8,4]{3,2,1,0} get-tuple-element(%conv), index=0
  %pooled = bf16[1,1,1,4]{3,2,1,0} reduce-window(%y, %y), window={size=1x8x8x1}, to_apply=%sum
  %z = f32[16]{0} bitcast(%y)
  %w = f32[4]{0} fusion(%z, %at), kind=kLoop, calls=%taken
  %sums = (f32[16]{0}, f32[4]{0}) all-reduce(%z, %w), replica_groups={{0,1}}, to_apply=%sum
  %start = f32[4]{0} all-reduce-start(%w), replica_groups={{0,1}}, to_apply=%sum
  %done = f32[4]{0} all-reduce-done(%start)
  ROOT %one = f32[] constant(1)
}
"""  # noqa: E501


def runs_of(text):
    """{name: execution} of a program in which each instruction runs in one place."""
    return {run.instruction.name: run for run in Program(text).executions()}


@pytest.mark.parametrize(
    ('xla_type', 'arrays'),
    [
        ('f32[]', [(4, 4, '')]),
        ('pred[3,5]{1,0}', [(15, 15, '')]),
        ('s4[8]{0}', [(4, 4, '')]),
        ('f8e4m3fn[8]{0}', [(8, 8, '')]),
        ('token[]', [(0, 0, '')]),
        ('f32[0,3]{1,0}', [(0, 0, '')]),
        # 16 channels lie in 128 lanes; the axes of the layout are listed from the innermost
        ('bf16[16,512,512,16]{3,0,2,1:T(8,128)(2,1)}', [(1 << 27, 1 << 30, '')]),
        ('f32[5,130]{1,0:T(8,128)}', [(2600, 8 * 256 * 4, '')]),
        ('f32[5,130]{0,1:T(8,128)}', [(2600, 136 * 128 * 4, '')]),
        ('f32[3]{0:T(128)S(1)}', [(12, 512, '1')]),
        (
            '(f32[2]{0:T(256)}, u32[]{:S(2)}, /*index=2*/s8[4]{0})',
            [(8, 1024, ''), (4, 4, '2'), (4, 4, '')],
        ),
    ],
)
def test_arrays_by_shape_and_in_tiles(xla_type, arrays):
    assert arrays_of(xla_type) == arrays


def test_a_loop_runs_as_often_as_its_condition_allows():
    runs = runs_of(LOOP)
    assert list(runs) == ['more', 'y']
    assert (runs['y'].times, runs['y'].cycles) == (64, 64 * 7)
    assert runs['y'].bytes == runs['y'].tiled == 64 * 2 * 8 * 128 * 2
    known = LOOP.replace('body=%body', 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert runs_of(known)['y'].times == 5
    unknown = LOOP.replace('s32[]{:T(128)} constant(64)', 's32[]{:T(128)} copy(%i)')
    assert runs_of(unknown)['y'].times == 1


def test_of_sliced_arrays_the_slices_count():
    """A band of 64 rows of 512: read as int16 and written as float32."""
    runs, index, row = runs_of(SLICES), 4, 512
    assert runs['read'].bytes == 64 * row * (2 + 4) + index
    assert runs['written'].bytes == 64 * row * (4 + 4) + index
    assert runs['whole'].bytes == 512 * row * (2 + 2) + index
    assert runs['bare'].bytes == 8 * row * (4 + 4) + index


def test_what_happens_to_each_element_before_a_slice_happens_to_the_slice_alone():
    """Ten of 100 numbers are computed, of a bfloat16 array and a sum that needs all of another."""
    text = """
%ten (x: bf16[100], y: bf16[100]) -> f32[10] {
  %x = bf16[100]{0} parameter(0)
  %wide = f32[100]{0} convert(%x)
  %square = f32[100]{0} multiply(%wide, %wide)
  %y = bf16[100]{0} parameter(1)
  %sum = f32[100]{0} add(%square, %y)
  %first = f32[10]{0} slice(%sum), slice={[0:10]}
  %zero = f32[] constant(0)
  %total = f32[] reduce(%y, %zero), dimensions={0}, to_apply=%add
  ROOT %both = f32[10]{0} multiply(%first, %total)
}

ENTRY %main (x: bf16[100], y: bf16[100]) -> f32[10] {
  %x = bf16[100]{0} parameter(0)
  %y = bf16[100]{0} parameter(1)
  ROOT %ten = f32[10]{0} fusion(%x, %y), kind=kLoop, calls=%ten
}
"""
    assert runs_of(text)['ten'].bytes == 10 * 2 + 100 * 2 + 10 * 4


def test_what_a_fusion_passes_on_to_another_instruction_is_read():
    text = """
%same (x: bf16[8,16]) -> bf16[128] {
  %x = bf16[8,16]{1,0} parameter(0)
  ROOT %flat = bf16[128]{0} bitcast(%x)
}

%product (x: bf16[8,16]) -> f32[] {
  %x = bf16[8,16]{1,0} parameter(0)
  %flat = bf16[128]{0} fusion(%x), kind=kLoop, calls=%same
  ROOT %square = f32[] dot(%flat, %flat), lhs_contracting_dims={0}, rhs_contracting_dims={0}
}

ENTRY %main (x: bf16[8,16]) -> f32[] {
  %x = bf16[8,16]{1,0} parameter(0)
  ROOT %product = f32[] fusion(%x), kind=kOutput, calls=%product
}
"""
    assert runs_of(text)['product'].bytes == 128 * 2 + 4


@pytest.mark.parametrize(
    ('inside', 'expected'),
    [
        # sliced by a fusion, after it was converted
        ('%part = f32[10]{0} fusion(%wide), kind=kLoop, calls=%ten', 10 * 2 + 10 * 4),
        # the same value twice
        ('%part = f32[10]{0} fusion(%wide, %wide), kind=kLoop, calls=%tens', 2 * 10 * 2 + 10 * 4),
        # an update that is not the result, and so not in place
        ('%new = f32[100]{0} dynamic-update-slice(%wide, %few, %zero)\n'
         '  %part = f32[10]{0} slice(%new), slice={[0:10]}', 100 * 2 + 10 * 4),
    ],
)  # fmt: skip
def test_shares_within_fusions(inside, expected):
    text = f"""
%ten (x: f32[100]) -> f32[10] {{
  %x = f32[100]{{0}} parameter(0)
  ROOT %first = f32[10]{{0}} slice(%x), slice={{[0:10]}}
}}

%tens (x: f32[100], y: f32[100]) -> f32[10] {{
  %x = f32[100]{{0}} parameter(0)
  %y = f32[100]{{0}} parameter(1)
  %first = f32[10]{{0}} slice(%x), slice={{[0:10]}}
  %last = f32[10]{{0}} slice(%y), slice={{[90:100]}}
  ROOT %sum = f32[10]{{0}} add(%first, %last)
}}

%outer (x: bf16[100]) -> f32[10] {{
  %x = bf16[100]{{0}} parameter(0)
  %wide = f32[100]{{0}} convert(%x)
  %zero = s32[] constant(0)
  %few = f32[5]{{0}} broadcast(%zero), dimensions={{}}
  {inside}
  ROOT %result = f32[10]{{0}} negate(%part)
}}

ENTRY %main (x: bf16[100]) -> f32[10] {{
  %x = bf16[100]{{0}} parameter(0)
  ROOT %outer = f32[10]{{0}} fusion(%x), kind=kLoop, calls=%outer
}}
"""
    assert runs_of(text)['outer'].bytes == expected


def test_a_repeated_operand_is_read_once_and_slices_no_more_than_the_whole():
    text = """
%taps (x: f32[10]) -> f32[8] {
  %x = f32[10]{0} parameter(0)
  %zero = s32[] constant(0)
  %a = f32[8]{0} dynamic-slice(%x, %zero), dynamic_slice_sizes={8}
  %b = f32[8]{0} dynamic-slice(%x, %zero), dynamic_slice_sizes={8}
  ROOT %c = f32[8]{0} add(%a, %b)
}

ENTRY %main (x: f32[10]) -> f32[8] {
  %x = f32[10]{0} parameter(0)
  %square = f32[10]{0} multiply(%x, %x)
  ROOT %taps = f32[8]{0} fusion(%square), kind=kLoop, calls=%taps
}
"""
    assert {name: run.bytes for name, run in runs_of(text).items()} == {'square': 80, 'taps': 72}


def test_what_stays_on_the_chip_does_not_count():
    runs = runs_of(CHIP)
    assert {name: run.bytes for name, run in runs.items()} == {
        'copy-start': 4096,
        'slice-start': 1024,
        'on-chip': 0,
        'out': 4096,
    }
    assert runs['out'].instruction.source == 'jit(step)/add'
    assert runs['on-chip'].instruction.source == ''


def test_convolutions_gathers_and_collectives_are_found():
    """The window of a pooling is not one of a convolution; done operations send nothing."""
    program = Program(CALLS)
    windows = {each.name: each.window for each in program.instructions() if each.window}
    assert windows == {'conv': 5}
    assert [each.name for each in program.instructions() if each.is_cudnn] == ['conv']
    assert [each.name for each in program.instructions() if each.opcode == 'gather'] == ['some']
    assert program.sent() == [4 * (16 + 4), 4 * 4]
    assert runs_of(CALLS)['conv'].bytes == 2 * 2 * 256 + 2 * 4 * 3 * 5 * 4


def test_a_program_that_xla_compiled():
    """Of the CPU: 5 rounds of a loop that negates 4096 numbers, in one memory and without tiles."""

    def negated(x):
        return jax.lax.fori_loop(0, 5, lambda i, x: -x, x)

    text = jax.jit(negated).lower(jnp.zeros(4096)).compile().as_text()
    large = [run for run in Program(text).executions() if run.bytes > 4096 * 4]
    assert [run.times for run in large if 'neg' in run.instruction.source] == [5]
    assert all(run.bytes == run.tiled == run.times * 2 * 4096 * 4 for run in large)
