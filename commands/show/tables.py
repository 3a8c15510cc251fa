"""Tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

COLORS = {"published": "green", "unchanged": "cyan", "withheld": "yellow", "failed": "red", "running": "blue"}
COUNTED = ("records", "accepted", "rejected", "duplicates", "changes")
RIGHT = {*COUNTED, "revision", "load", "seconds", "open rejects"}
WIDE = 240  # columns, where no window limits them


def show_table(rows: Sequence[dict[str, str]], console: Console, keep: Sequence[str] = ()) -> None:
    """The rows as a table. Empty columns are left out; outside a terminal no cell is truncated."""
    names = [name for name in (rows[0] if rows else ()) if name in keep or any(row[name] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(
            name, justify="right" if name in RIGHT else "left", no_wrap=name != "dataset", overflow="fold"
        )
    for row in rows:
        table.add_row(*(row[name] for name in names))
    width = console.width
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
    console.width = width


def count_noun(number: int, noun: str) -> str:
    """`1 dataset`, `2 datasets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
