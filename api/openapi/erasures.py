"""The operation that erases a key."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi.loads import TEXT
from api.openapi.quarantine import PLACE, body_object, queueing
from api.openapi_parts.parts import PathItem
from runtime.json_types import JsonObject


def erasure_paths() -> Iterator[tuple[str, PathItem]]:
    """The path of `/operations` that erases."""
    key: JsonObject = {
        "type": "array",
        "items": TEXT,
        "minItems": 1,
        "description": "The parts of the key in the order of the dataset's `key`, each as a text.",
        "examples": [["1001"]],
    }
    yield (
        "/operations/erasures",
        {
            "post": queueing(
                "queue_erasure",
                "Erase a key",
                "Erases one key of a dataset: from current records, history, quarantine, pushed events and raw data."
                " It cannot be undone, and earlier revisions are gone with it. The load's notes say what was found;"
                " answers and audit log have the SHA-256 of the key, never the key. Needs the scope `ops:write`.",
                body_object(PLACE | {"key": key}, "product", "dataset", "key"),
            )
        },
    )
