"""The key of a record as texts, one for each part: its values, and the digest that is kept instead of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from catalog.model.dataset import Dataset
from catalog.types.property_types import InvalidValueError


def parse_key(dataset: Dataset, parts: Sequence[str]) -> list[Any]:
    """The key's values; InvalidValueError, which repeats none of them, where they cannot be this dataset's."""
    if len(parts) != len(dataset.key):
        raise InvalidValueError(f"The key has {len(dataset.key)} part(s): {','.join(dataset.key)}")
    values = []
    for name, text in zip(dataset.key, parts, strict=True):
        try:
            values.append(dataset.properties[name].type.parse(text))
        except InvalidValueError as error:
            raise InvalidValueError(f"{name}: {error}") from None
    return values


def split_key(dataset: Dataset, key: str) -> list[str]:
    """The parts of a key; the last of a single one may hold commas."""
    return key.split(",") if len(dataset.key) > 1 else [key]


def hash_key(dataset: Dataset, parts: Sequence[str]) -> str:
    """What the record of an erasure says instead of the key."""
    return hashlib.sha256(f"{dataset.address}/{','.join(parts)}".encode()).hexdigest()
