"""Body composition from CT in JAX: networks are trained, evaluated and applied."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bodycomp_jax.data.scans import find_series
    from bodycomp_jax.estimation.estimate import estimate
    from bodycomp_jax.inference.load import load_model

__all__ = ['estimate', 'find_series', 'load_model']

MODULES = {
    'estimate': 'estimation.estimate',
    'find_series': 'data.scans',
    'load_model': 'inference.load',
}


def __getattr__(name: str) -> Any:
    """Imports a public function, and with it JAX or pydicom, when it is first used."""
    if name not in MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{MODULES[name]}'), name)
