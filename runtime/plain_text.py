"""Text from outside on its way to Postgres or to a terminal.

Names of files and columns, messages of drivers, headers and values may hold anything: a NUL or half a surrogate pair,
which Postgres refuses; escape sequences, which a terminal obeys; megabytes. Two treatments: `plain` is for what a
person reads, and shows such characters as escapes, cut to a length; `keep_text` is for what Decant needs again as it
was, and is undone by `restore_text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SHOWN_CHARACTERS = 4000
NOTE_CHARACTERS = 1000
NOTE_FORM = f"1 to {NOTE_CHARACTERS:,} printable characters"
# Controls but tab and line feed, those that turn the direction of text, line separators, halves of surrogate pairs.
UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)
ESCAPE_MARKER = "\ue0f0"  # of the private use area: before four hexadecimal digits it encodes another character
REFUSED = re.compile(f"[\x00\ud800-\udfff{ESCAPE_MARKER}]")
KEPT = re.compile(f"{ESCAPE_MARKER}([0-9a-f]{{4}})")


def plain(text: str, limit: int | None = SHOWN_CHARACTERS) -> str:
    r"""The text as a person may see it: `\x1b` for an escape, and shortened where it is longer than `limit`."""
    total = len(text)
    if limit is not None and total > limit:
        text = f"{text[:limit]}… ({total:,} characters)"
    return UNSHOWN.sub(escape_character, text)


def is_note(text: str) -> bool:
    """Whether a text that somebody wrote for the record can be kept and shown as it is."""
    return len(text.strip()) > 0 and len(text) <= NOTE_CHARACTERS and text.isprintable()


def escape_character(found: re.Match[str]) -> str:
    """A character as Python would write it."""
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def keep_text(text: str) -> str:
    """The text as Postgres can keep it; most texts as they are."""
    return REFUSED.sub(lambda found: f"{ESCAPE_MARKER}{ord(found[0]):04x}", text)


def restore_text(text: str) -> str:
    """The text that `keep_text` was given."""
    return KEPT.sub(lambda found: chr(int(found[1], 16)), text) if ESCAPE_MARKER in text else text


def map_texts(value: object, change: Callable[[str], str]) -> object:
    """A JSON value with every text in it changed, its keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): map_texts(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_texts(item, change) for item in value]
    return value
