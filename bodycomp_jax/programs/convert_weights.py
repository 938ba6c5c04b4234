"""Converts a Keras file to a final_model folder, or a network of this project to a Keras file."""

import dataclasses
from typing import Any

from bodycomp_jax.checkpoints.network import convert
from bodycomp_jax.config import ACTIVATIONS, option
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """What to convert, and options of the network that its file leaves open (None)."""

    input: str = option(
        None,
        'a Keras file, or the folder of a run, one of its checkpoints or its final_model; also '
        'the first positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    output: str = option(
        None,
        'what to write: a final_model folder from a Keras file, else a Keras 2 weights file; also '
        'the second positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    activation: str | None = option(
        None,
        'activation of the network; a weights file does not contain it (default: that in the '
        'file, else relu)',
        group='Network',
        short='A',
        choices=ACTIVATIONS,
    )
    apply_window_function: bool | None = option(
        None,
        'whether the segmentation network was trained on grey values made from HU with the window '
        '40/400 (default: on)',
        group='Network',
        short='p',
    )
    levels: tuple[str, ...] | None = option(
        None,
        'vertebral levels of the outputs of a slice-selection network, in order (default: L3, or '
        'level_0, level_1, ... for several)',
        group='Network',
        short='L',
    )
    threshold: float | None = option(
        None,
        'mm; divisor of the offsets of a slice-selection network (default: 10)',
        group='Network',
        short='t',
    )


def main(argv: list[str]) -> None:
    (conversion,), given = flags.parse(argv, __doc__, ConversionConfig)
    overrides: dict[str, Any] = {
        name: getattr(conversion, name) for name in given - {'input', 'output'}
    }
    config = convert(conversion.input, conversion.output, overrides)
    print(f'{conversion.output}: a {config.kind} network')


if __name__ == '__main__':
    restart('convert_weights')
