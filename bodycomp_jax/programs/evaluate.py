"""Compares trained networks, or readers, on labelled data: which is better, and where is it wrong.

Writes tables, and a page with the verdict, the agreement with the labels and the worst cases.
"""

from bodycomp_jax.evaluation.evaluate import evaluate_candidates
from bodycomp_jax.evaluation.options import EvaluationConfig
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


def main(argv: list[str]) -> None:
    (config,), _ = flags.parse(argv, __doc__, EvaluationConfig)
    evaluate_candidates(config)


if __name__ == '__main__':
    restart('evaluate')
