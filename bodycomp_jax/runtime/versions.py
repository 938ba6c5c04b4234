"""Versions of the packages that decide what is computed."""

import importlib.metadata
from collections.abc import Sequence

PACKAGES = (
    'bodycomp_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'pillow',
)  # fmt: skip
SCAN_PACKAGES = (  # by which scans become training sets
    'bodycomp_jax', 'highdicom', 'nibabel', 'numpy', 'pillow', 'pydicom', 'python-gdcm',
)  # fmt: skip


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """`{package: version}`."""
    return {package: importlib.metadata.version(package) for package in packages}
