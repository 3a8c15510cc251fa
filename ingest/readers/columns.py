"""Names of raw columns: header parsing, duplicate and missing names, and their display in messages."""

from __future__ import annotations

from collections.abc import Iterable

from ingest.errors import MissingColumnsError

NAMES_SHOWN = 20
NAME_CHARACTERS_SHOWN = 60


def name_headers(names: Iterable[str], first: int = 0) -> tuple[str, ...]:
    """A header's names without blanks around them; a column without one is called by its letters, as in a sheet."""
    plain = [name.strip().replace("\0", "\ufffd") for name in names]
    return tuple(name or f"column {name_column(first + index)}" for index, name in enumerate(plain))


def name_column(number: int) -> str:
    """The letters that name a column, which counts from 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def number_duplicate_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns by names of their own: one whose name was there before is numbered."""
    if len(set(columns)) == len(columns):
        return columns
    names: dict[str, None] = {}
    for name in columns:
        count, own = 2, name
        while own in names or (own != name and own in columns):
            own, count = f"{name} ({count})", count + 1
        names[own] = None
    return tuple(names)


def require_columns(columns: tuple[str, ...], needed: Iterable[str], source: str = "The source") -> None:
    """MissingColumnsError, naming what is missing and what was found.

    The first of two columns with one name is meant where the contract reads the second one too, by its number.
    """
    header = number_duplicate_columns(columns)
    wanted = list(dict.fromkeys(needed))
    missing = [name for name in wanted if name not in header]
    if missing:
        ends = any("\r" in name for name in columns)
        hint = " Some of its lines end with a carriage return alone, others do not." if ends else ""
        raise MissingColumnsError(
            f"{source} lacks the columns {show_names(missing)}; it has {show_names(header)}.{hint}"
        )
    doubled = [name for name in wanted if columns.count(name) > 1 and f"{name} (2)" not in wanted]
    if doubled:
        raise MissingColumnsError(
            f"{source} has the columns {show_names(doubled)} more than once: the contract must read the second as"
            f" {show_names([f'{name} (2)' for name in doubled])} too, to distinguish them."
        )


def show_names(names: Iterable[str]) -> str:
    """Names from outside in a message: with what cannot be seen in them escaped, shortened where there are many."""
    listed = list(names)
    shown = [show_name(name) for name in listed[:NAMES_SHOWN]]
    more = [f"and {len(listed) - NAMES_SHOWN:,} more"] if len(listed) > NAMES_SHOWN else []
    return ", ".join([*shown, *more]) or "none"


def show_name(name: str, most: int = NAME_CHARACTERS_SHOWN) -> str:
    """One name from outside in a message."""
    truncated = name if len(name) <= most else name[: most - 1] + "…"
    return truncated if truncated.isprintable() else ascii(truncated)
