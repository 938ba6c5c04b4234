"""Hyper-parameters of the networks and of their training, and the settings of a run.

Each default and help text is written once, here or in the options of a program; `runtime.flags`
makes the flags from it.
"""

from bodycomp_jax.config.augmentation import (
    LARGEST,
    LIGHT,
    STRONG,
    AugmentationConfig,
    SliceSelectionAugmentationConfig,
    Strengths,
)
from bodycomp_jax.config.networks import (
    ACTIVATIONS,
    DENSENET_SIDE,
    MAX_NETWORK_SIDE,
    DenseNetConfig,
    NetworkConfig,
    UNetConfig,
    contradiction,
    refuse_unknown,
)
from bodycomp_jax.config.options import (
    as_flag,
    as_text,
    check_positive,
    from_values,
    option,
    options,
    to_values,
    value_types,
)
from bodycomp_jax.config.run import RunConfig
from bodycomp_jax.config.trainers import (
    SHIPPED,
    TRAINERS,
    SegmentationConfig,
    SliceSelectionConfig,
    TrainerConfig,
    from_json,
    names_shipped,
    to_json,
    with_preset,
    with_values,
)

__all__ = [
    'ACTIVATIONS',
    'DENSENET_SIDE',
    'LARGEST',
    'LIGHT',
    'MAX_NETWORK_SIDE',
    'SHIPPED',
    'STRONG',
    'TRAINERS',
    'AugmentationConfig',
    'DenseNetConfig',
    'NetworkConfig',
    'RunConfig',
    'SegmentationConfig',
    'SliceSelectionAugmentationConfig',
    'SliceSelectionConfig',
    'Strengths',
    'TrainerConfig',
    'UNetConfig',
    'as_flag',
    'as_text',
    'check_positive',
    'contradiction',
    'from_json',
    'from_values',
    'names_shipped',
    'option',
    'options',
    'refuse_unknown',
    'to_json',
    'to_values',
    'value_types',
    'with_preset',
    'with_values',
]
