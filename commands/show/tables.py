"""Tables in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLORS = {"published": "green", "unchanged": "cyan", "withheld": "yellow", "failed": "red", "running": "blue"}
COUNTED = ("records", "accepted", "rejected", "duplicates", "changes")
RIGHT = {*COUNTED, "revision", "load", "seconds", "open rejects", "line"}
FOLDED = {"value": 12, "message": 12}  # columns whose words may be broken, and their least width
GAP = 2  # between columns
INDENT = 2  # of what stands below a heading
WORDS = re.compile(r"^\s*\S+|\S+")
WIDE = 240  # columns, where no window limits them


def show_table(rows: Sequence[dict[str, str]], console: Console, keep: Sequence[str] = ()) -> None:
    """The rows as a table. Empty columns are left out; words, such as names, are never broken.

    Cells wrap between words. Where that leaves the table wider than the window, each row has the name of its dataset,
    or its first column, in a line of its own; where that is not enough, each cell has a line.
    """
    names = [name for name in (rows[0] if rows else ()) if name in keep or any(row[name] for row in rows)]
    if not names:
        return
    cells = [{name: Text.from_markup(row[name]) for name in names} for row in rows]
    width = console.width
    if not console.is_terminal:
        console.width = WIDE
    try:
        print_rows(names, cells, console)
    finally:
        console.width = width


def print_rows(names: Sequence[str], rows: Sequence[Mapping[str, Text]], console: Console) -> None:
    """Prints the rows in the first form that has room."""
    if widths := fit_widths(names, rows, console.width):
        console.print(make_table(names, rows, widths))
        return
    heading = "dataset" if "dataset" in names else names[0]
    rest = [name for name in names if name != heading]
    widths = fit_widths(rest, rows, console.width - INDENT)
    if widths:
        console.print(Text(heading, style="dim"))
        console.print(make_table(rest, [], widths, indent=INDENT))
    for row in rows:
        if row[heading].plain:
            console.print(row[heading], soft_wrap=True)
        if widths:
            console.print(make_table(rest, [row], widths, indent=INDENT, has_head=False))
        for name in [] if widths else rest:
            if row[name].plain:
                console.print(Text.assemble(" " * INDENT, (f"{name}: ", "dim"), row[name]), soft_wrap=True)


def fit_widths(names: Sequence[str], rows: Sequence[Mapping[str, Text]], room: int) -> dict[str, int] | None:
    """The width of each column, the widest narrowed first; None where words would have to be broken."""
    columns = {name: [Text(name), *(row[name] for row in rows)] for name in names}
    widths = {name: max(cell.cell_len for cell in column) for name, column in columns.items()}
    least = {name: min(widths[name], FOLDED.get(name) or longest_word(column)) for name, column in columns.items()}
    room -= GAP * (len(names) - 1)
    if sum(least.values()) > room:
        return None
    while sum(widths.values()) > room:
        widest = max((name for name in names if widths[name] > least[name]), key=lambda name: widths[name])
        widths[widest] -= 1
    return widths


def longest_word(cells: Sequence[Text]) -> int:
    """The width of the longest word of a column, as Rich takes words: with the spaces before the first of a cell."""
    return max((cell_len(word) for cell in cells for word in WORDS.findall(cell.plain)), default=1)


def make_table(
    names: Sequence[str],
    rows: Sequence[Mapping[str, Text]],
    widths: Mapping[str, int],
    *,
    indent: int = 0,
    has_head: bool = True,
) -> Table:
    """A table of columns of these widths, below a heading of another one where it is indented."""
    table = Table(box=None, show_header=has_head, header_style="dim", padding=0, pad_edge=False)
    if indent:
        table.add_column("", width=indent)
    for name in names:
        table.add_column(name, justify="right" if name in RIGHT else "left", width=widths[name], overflow="fold")
        if name != names[-1]:
            table.add_column("", width=GAP)
    for row in rows:
        cells: list[Text | str] = [""] if indent else []
        for name in names:
            cells += [row[name]] if name == names[-1] else [row[name], ""]
        table.add_row(*cells)
    return table


def count_noun(number: int, noun: str) -> str:
    """`1 dataset`, `2 datasets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
