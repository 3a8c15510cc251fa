"""Names that a contract writes: YAML may have a list or a mapping where a name is expected. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeGuard


def is_one_of(value: object, known: Container[str]) -> TypeGuard[str]:
    """Whether a contract's value is one of these names; a list or a mapping, which no table can look up, is none."""
    return isinstance(value, str) and value in known
