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
    """`{package: version}`; 'not installed' for one that is run from its folder."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'
