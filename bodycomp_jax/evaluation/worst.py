"""The worst examples of each candidate, with pictures."""

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.evaluation.candidates import BATCH, Candidate
from bodycomp_jax.evaluation.measure import answered
from bodycomp_jax.evaluation.study import Examples, Metric, Ranking, Study

WORST = 12  # examples of each ranking and candidate
MAX_WIDTH = 1280  # pixels of a picture
QUALITY = 85


class Case(NamedTuple):
    """An example that is among the worst of a candidate.

    Attributes:
      example, candidate: indices.
      reasons: in which rankings, at which place, and by which number.
      picture: JPEG file.
    """

    example: int
    candidate: int
    reasons: list[str]
    picture: bytes


def worst_cases(
    study: Study,
    examples: Examples,
    numbers: np.ndarray,
    candidates: Sequence[Candidate],
    devices: Sequence[jax.Device],
) -> list[Case]:
    """The worst examples of each candidate, those of the first ranking first.

    Args:
      study: which draws them.
      examples: to rank.
      numbers: of all slices.
      candidates, devices: which answer them again.
    """
    reasons: dict[tuple[int, int], list[str]] = {}
    for candidate in range(len(candidates)):
        for ranking in study.rankings:
            for place, (example, metric, value) in enumerate(_ranked(examples, ranking, candidate)):
                unit = f' {metric.unit}' if metric.unit else ''
                reasons.setdefault((candidate, example), []).append(
                    f'{place + 1}. by {ranking.title}: {ct.spaced(metric.of)} '
                    f'{value:.{metric.digits}f}{unit}'
                )
    drawn = _drawn(study, numbers, [*reasons], candidates, devices)
    return [
        Case(example, candidate, reasons[candidate, example], _jpeg(drawn[candidate, example]))
        for candidate, example in reasons
    ]


def _ranked(
    examples: Examples, ranking: Ranking, candidate: int
) -> Iterator[tuple[int, Metric, float]]:
    """(example, metric in which it is bad, its value), the worst first."""
    values = np.stack(
        [examples.of(metric.column)[:, candidate] for metric in ranking.metrics], axis=1
    )
    signs = np.array([-1 if metric.higher_is_better else 1 for metric in ranking.metrics])
    badness = np.where(np.isfinite(values), signs * values, -np.inf)
    order = np.argsort(-badness.max(1), kind='stable')
    for example in order[:WORST]:
        column = int(badness[example].argmax())
        if np.isfinite(badness[example, column]):
            metric = ranking.metrics[column]
            yield int(example), metric, float(values[example, column])


def _drawn(
    study: Study,
    numbers: np.ndarray,
    wanted: Sequence[tuple[int, int]],
    candidates: Sequence[Candidate],
    devices: Sequence[jax.Device],
) -> dict[tuple[int, int], np.ndarray]:
    """{(candidate, example): picture}."""
    found, to_answer = {}, []
    for candidate, example in wanted:
        slices = study.slices_of(example)
        if slices is None:
            found[candidate, example] = study.draw(example, candidate, None, None, numbers)
        else:
            to_answer.append((study.parts.index(slices[0]), slices[1], example))
    by_part = itertools.groupby(sorted(to_answer), key=lambda each: each[0])
    for part, of_part in by_part:
        rows = {row: example for _, row, example in of_part}
        order = list(rows)
        batches = [np.array(order[i : i + BATCH]) for i in range(0, len(order), BATCH)]
        for batch_rows, batch, answers in answered(study.parts[part], candidates, devices, batches):
            for i, row in enumerate(batch_rows):
                example = rows[int(row)]
                images = {name: array[i] for name, array in batch.items()}
                for candidate, answer in enumerate(answers):
                    if (candidate, example) in wanted:
                        found[candidate, example] = study.draw(
                            example, candidate, images, np.asarray(answer[i]), numbers
                        )
    return found


def _jpeg(picture: np.ndarray) -> bytes:
    """A picture as JPEG, made smaller if it is very wide."""
    image = Image.fromarray(picture)
    if image.width > MAX_WIDTH:
        size = MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)
        image = image.resize(size, Image.Resampling.BOX)
    content = io.BytesIO()
    image.save(content, 'JPEG', quality=QUALITY)
    return content.getvalue()
