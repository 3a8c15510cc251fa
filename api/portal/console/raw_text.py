"""Raw text of rejected records, with the values marked that broke a rule."""

from __future__ import annotations

from typing import Any, NamedTuple

RAW_CHARACTERS = 600


class Piece(NamedTuple):
    """A piece of raw text."""

    text: str
    is_bad: bool


def mark_values(reject: dict[str, Any]) -> list[Piece]:
    """The raw text in pieces: those that are a value of a reason, and what is between them."""
    raw = reject["raw"]
    shown = raw if len(raw) <= RAW_CHARACTERS else raw[:RAW_CHARACTERS] + "…"
    spans = sorted(find_spans(shown, reject["reasons"]))
    pieces, end = [], 0
    for start, stop in spans:
        if start < end:
            continue  # two reasons of one value
        pieces += [Piece(shown[end:start], is_bad=False), Piece(shown[start:stop], is_bad=True)]
        end = stop
    pieces.append(Piece(shown[end:], is_bad=False))
    return [piece for piece in pieces if piece.text]


def find_spans(raw: str, reasons: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Where the values of reasons stand, each at its first place."""
    values = {str(reason["value"]) for reason in reasons if reason.get("value") not in (None, "")}
    found = ((raw.find(value), len(value)) for value in values)
    return [(start, start + length) for start, length in found if start >= 0]
