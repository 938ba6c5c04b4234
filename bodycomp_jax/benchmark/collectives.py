"""What a training step sends between devices, and the least for equal results."""

import jax

from bodycomp_jax.benchmark.cases import Case, Row, Training, nbytes
from bodycomp_jax.benchmark.hlo import Program
from bodycomp_jax.models.build import as_inputs


def collectives(case: Case, training: Training) -> list[Row]:
    """Compares what a training step sends between devices with the least for equal results.

    That is: the gradients once, the loss sums once, and for each batch norm the mean and mean
    square in the forward pass and their gradients in the backward pass, one batch norm after
    another.

    Returns:
      rows of 'what', 'collectives' and 'bytes'.
    """
    sent = Program(training.text).sent()
    least = _least_sent(case.task, training.state, case.one_batch())
    rows = [
        ('the compiled step', len(sent), sum(sent)),
        ('its largest collective', 1, max(sent)),
        ('least', sum(n for _, n, _ in least), sum(size for _, _, size in least)),
        *((f'least: {what}', n, size) for what, n, size in least),
    ]
    return [dict(zip(('what', 'collectives', 'bytes'), row, strict=True)) for row in rows]


def _least_sent(task, state, batch):
    """(what, collectives, bytes) of each purpose."""

    def loss_sums():
        outputs = task.model.apply(state.variables, as_inputs(batch['image']))
        return task.loss_sums(outputs, batch)

    norms = len(state.of_stats.shapes) // 2  # each has a mean and a variance
    return [
        ('gradients', 1, nbytes(state.params)),
        ('loss sums', 1, nbytes(jax.eval_shape(loss_sums))),
        ('batch statistics', 2 * norms, 2 * nbytes(state.batch_stats)),
    ]
