"""What a training step costs: measured, and against the least it could."""

import functools
import re

import jax
import numpy as np

from bodycomp_jax.training import loop, parallel
from bodycomp_jax.training.interrupts import vote
from bodycomp_jax.training.state import initial_state

ELEMENT_BYTES = {'f32': 4, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'pred': 1}


def compiled_step(task, batch, devices):
    """The training step as `train` compiles it, and its arguments (state, batch, votes)."""
    image_shape = batch['image'].shape[1:]
    arguments = (
        parallel.replicate(initial_state(task, image_shape), devices),
        parallel.split(batch, devices),
        parallel.on_each_device(vote(None), devices),
    )
    step = parallel.parallel(functools.partial(loop.train_step, task), devices, donate_state=True)
    return step.lower(*arguments).compile(), arguments


def collectives(task, batch, devices):
    """What a training step sends between devices, and the least it could.

    The least that gives equal results on any number of devices: the gradients once, the loss
    sums once, and for each batch norm mean and mean square on the way forward and their gradients
    on the way back, one batch norm after another.

    Args:
      task: a `Task`.
      batch: as the host reads it.
      devices: of which there must be two at least.

    Returns:
      rows {'what', 'collectives', 'bytes'}.
    """
    step, (state, *_) = compiled_step(task, batch, devices)
    found = re.findall(
        r'= (.+?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)'
        r'(?:-start)?\(',
        step.as_text(),
    )
    sizes = [_bytes_of(shapes) for shapes in found]
    outputs = jax.eval_shape(lambda: task.model.apply(state.variables, task.inputs(batch['image'])))
    loss_sums = jax.eval_shape(task.loss_sums, outputs, batch)
    norms = len([name for name in _names(state.batch_stats) if 'mean' in name])
    least = [
        ('gradients', 1, _size(state.params)),
        ('loss sums', 1, _size(loss_sums)),
        ('batch statistics', 2 * norms, 2 * _size(state.batch_stats)),
    ]
    rows = [
        ('the compiled step', len(sizes), sum(sizes)),
        ('its largest collective', 1, max(sizes)),
        ('least', sum(n for _, n, _ in least), sum(size for _, _, size in least)),
        *((f'least: {what}', n, size) for what, n, size in least),
    ]
    return [dict(zip(('what', 'collectives', 'bytes'), row, strict=True)) for row in rows]


def _names(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _size(tree):
    return sum(4 * leaf.size for leaf in jax.tree.leaves(tree))  # all are float32


def _bytes_of(shapes):
    """Of all arrays in an XLA type such as '(f32[3]{0}, f32[3,3,1,16]{3,2,1,0})'."""
    arrays = re.findall(r'([a-z]+\d*)\[([\d,]*)\]', shapes)
    return sum(
        ELEMENT_BYTES[kind] * int(np.prod([int(n) for n in dims.split(',') if n]))
        for kind, dims in arrays
    )
