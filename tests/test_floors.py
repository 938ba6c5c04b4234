"""The layout as a test: imports go down, each tool has one home, public functions have types."""

import ast

import pytest
from helpers import ROOT

FLOORS = (  # from the ground up; folders and modules of one floor do not import each other
    ('__init__', 'ct', 'errors', 'vertebrae'),
    ('config',),
    ('runtime',),
    ('data', 'models'),
    ('metrics',),
    ('checkpoints',),
    ('inference',),
    ('training',),
    ('benchmark', 'estimation', 'evaluation', 'preparation'),
    ('programs',),
    ('bin',),
)
HOMES = {
    'orbax': {'bodycomp_jax/checkpoints/store.py'},
    'tensorboardX': {'bodycomp_jax/training/metrics_log.py'},
    'absl': {'bodycomp_jax/runtime/flags.py'},
    'fcntl': {'bodycomp_jax/runtime/folders.py', 'bodycomp_jax/training/run_folder.py'},
    'h5py': {
        'bodycomp_jax/checkpoints/keras_file.py',
        'bodycomp_jax/checkpoints/keras_reader.py',
    },
    'resource': {'bodycomp_jax/checkpoints/keras_reader.py', 'bodycomp_jax/runtime/limits.py'},
    'rich': {'bodycomp_jax/runtime/terminal.py'},
    'pydicom': {
        'bodycomp_jax/data/masks/dicom_seg.py',
        'bodycomp_jax/data/masks/tissue_seg.py',
        'bodycomp_jax/data/scans/dicom_file.py',
        'bodycomp_jax/data/scans/headers.py',
        'bodycomp_jax/data/scans/pixels.py',
        'bodycomp_jax/data/scans/tags.py',
        'bodycomp_jax/estimation/dicom_seg.py',
        'bodycomp_jax/estimation/dicom_source.py',
        'bodycomp_jax/estimation/dicom_sr.py',
        'bodycomp_jax/preparation/synthetic/dicom.py',
    },
    'highdicom': {
        'bodycomp_jax/data/masks/tissue_seg.py',
        'bodycomp_jax/estimation/dicom_sr.py',
    },
    'nibabel': {
        'bodycomp_jax/data/scans/nifti_header.py',
        'bodycomp_jax/estimation/label_files.py',
    },
    'scipy': {
        'bodycomp_jax/data/masks/vertebrae.py',
        'bodycomp_jax/data/phantom/acquisition.py',
        'bodycomp_jax/data/phantom/grids.py',
        'bodycomp_jax/data/phantom/projections.py',
        'bodycomp_jax/data/scans/field_of_view.py',
        'bodycomp_jax/metrics/surfaces.py',
        'bodycomp_jax/vertebrae.py',
    },
    'psutil': {'bodycomp_jax/runtime/host_memory.py'},
    'PIL': {
        'bodycomp_jax/data/png.py',
        'bodycomp_jax/estimation/label_files.py',
        'bodycomp_jax/estimation/previews.py',
        'bodycomp_jax/evaluation/worst.py',
        'bodycomp_jax/metrics/figures.py',
        'bodycomp_jax/metrics/tinting.py',
        'bodycomp_jax/metrics/views.py',
        'bodycomp_jax/preparation/previews.py',
        'bodycomp_jax/data/squares.py',
    },
}
SHARDED = {
    'bodycomp_jax/training/data_parallel.py',
    'bodycomp_jax/inference/batches.py',
    'bodycomp_jax/models/layers/norm.py',  # statistics of a batch over devices
}
SHARDING = {
    'pmap', 'shard_map', 'psum', 'pmean', 'all_gather', 'axis_index', 'Mesh', 'make_mesh',
    'NamedSharding', 'PartitionSpec', 'make_array_from_process_local_data',
}  # fmt: skip
PROCESSES = {'distributed', 'multihost_utils', 'broadcast_one_to_all', 'process_allgather'}
PUBLIC = {
    'estimate': 'estimation',
    'find_series': 'data',
    'load_model': 'inference',
}  # what `bodycomp_jax` exports
UNPICKLERS = {'pickle', 'dill', 'cloudpickle', 'joblib', 'marshal'}
SOURCES = sorted([*ROOT.glob('bodycomp_jax/**/*.py'), *ROOT.glob('bin/*.py')])
MAX_LINES = 60  # of a function

each_source = pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


def imports_of(path):
    """Dotted names that a file imports; from-imports with the name that is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def place_of(path):
    """The folder or module of `FLOORS` that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return 'bin' if parts[0] == 'bin' else parts[1]


def floor_of(place):
    return next(i for i, floor in enumerate(FLOORS) if place in floor)


@each_source
def test_imports_go_down(path):
    place = place_of(path)
    if place == '__init__':  # imports the public API when it is first used
        return
    for name in imports_of(path):
        package, _, rest = name.partition('.')
        other = PUBLIC.get(rest, rest.partition('.')[0])
        if package == 'bodycomp_jax' and other != place:
            assert floor_of(other) < floor_of(place), f'{place} imports {name}'


@each_source
def test_tools_stay_in_their_homes(path):
    where = str(path.relative_to(ROOT))
    for name in imports_of(path):
        tool = name.split('.')[0]
        assert where in HOMES.get(tool, {where}), f'{where} imports {tool}'
        assert tool not in UNPICKLERS
        if where.startswith('bodycomp_jax/data'):
            assert tool not in ('jax', 'flax', 'optax')
    used = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
    used |= {name.rpartition('.')[2] for name in imports_of(path)}
    if where not in SHARDED:
        assert not used & SHARDING
    if where not in ('bodycomp_jax/runtime/processes.py', 'bodycomp_jax/runtime/launch.py'):
        assert not used & PROCESSES
    assert 'allow_pickle=True' not in path.read_text()


def test_each_home_has_its_tool():
    for tool, homes in HOMES.items():
        for where in homes:
            assert any(name.split('.')[0] == tool for name in imports_of(ROOT / where)), where


@pytest.mark.parametrize('program', ['train_segmentation', 'train_slice_selection'])
def test_trainers_do_not_import_readers_of_scans(program):
    exports = ROOT / 'bodycomp_jax/__init__.py'  # which imports what is used, when it is used
    pending, seen = [f'bodycomp_jax.programs.{program}'], {exports}
    while pending:
        name = pending.pop()
        assert name.split('.')[0] not in ('pydicom', 'highdicom', 'gdcm', 'nibabel')
        module = ROOT.joinpath(*name.split('.'))
        for path in (module, module.parent):  # a module, or a name in a module
            for file in {path.with_suffix('.py'), path / '__init__.py'}.intersection(
                SOURCES
            ) - seen:
                seen.add(file)
                pending += imports_of(file)
    assert ROOT / 'bodycomp_jax/data/batches.py' in seen


@each_source
def test_modules_and_functions_are_described_typed_and_short(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f'{path} has no docstring'
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            where = f'{path}:{node.lineno} {node.name}'
            assert node.end_lineno - node.lineno < MAX_LINES, f'{where} is too long'
    public = [node for node in tree.body if not getattr(node, 'name', '_').startswith('_')]
    classes = [node for node in public if isinstance(node, ast.ClassDef)]
    functions = [
        node
        for node in (*public, *(method for c in classes for method in c.body))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith('_')
    ]
    for function in functions:
        where = f'{path}:{function.lineno} {function.name}'
        assert function.returns is not None, f'{where} has no return type'
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for argument in arguments:
            if argument.arg not in ('self', 'cls'):
                assert argument.annotation is not None, f'{where}: {argument.arg} has no type'
