"""Versions of the packages that decide what is computed."""

import importlib.metadata

PACKAGES = (
    'bodycomp_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'pillow',
)  # fmt: skip


def versions() -> dict[str, str]:
    """`{package: version}`."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}
