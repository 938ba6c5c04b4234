"""Training of CT body-composition networks in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bodycomp_jax.inference.load import load_model

__all__ = ['load_model']


def __getattr__(name: str) -> Any:
    """Imports `load_model`, and with it JAX, when it is first used."""
    if name != 'load_model':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from bodycomp_jax.inference.load import load_model

    return load_model
