"""Which Decant this is: the version that pyproject.toml gives the installed distribution."""

from __future__ import annotations

from importlib.metadata import version

DISTRIBUTION = "decant-data"  # another project has the plain name


def read_version() -> str:
    """The version, such as 0.2.0."""
    return version(DISTRIBUTION)
