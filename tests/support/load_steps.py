"""Where each step of a load is called, for tests that fail, stop or kill a load at one of them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

CALLERS = {
    "ingest.loading.loader": ("open_load", "close_load", "sweep_leftovers", "drop_staged"),
    "ingest.loading.fetch_batch": ("open_batch", "land", "note_landed", "recall", "digest_cleaning"),
    "ingest.loading.load_batch": (
        "end_unchanged",
        "parse_landed",
        "compile_cleaning",
        "clean_batch",
        "note_unread",
        "write_corrected",
    ),
    "ingest.publishing.publish": ("stage", "park_indexes", "publish_or_withhold", "vacuum"),
}


def caller_of(step: str) -> ModuleType:
    """The module whose name a test replaces to be there at this step."""
    return import_module(next(module for module, steps in CALLERS.items() if step in steps))
