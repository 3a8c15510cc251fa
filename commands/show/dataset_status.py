"""The status of datasets, in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape

from catalog.status.ages import show_age
from commands.show.tables import COLORS, count_noun, show_table
from runtime.plain_text import plain

OLD_MEASUREMENT = timedelta(minutes=1)


def show_status(rows: list[dict[str, Any]], now: datetime, console: Console) -> None:
    """The status as a table, and a line for each thing that needs attention."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "dataset": lambda row: escape(row["dataset"]),
        "revision": lambda row: str(row["revision"] if row["revision"] is not None else "not migrated"),
        "records": lambda row: f"{row['records'] or 0:,}",
        "last load": lambda row: show_last_load(row, now),
        "freshness": show_freshness,
        "next load": lambda row: f"in {show_age(row['next_load_at'] - now)}" if row["next_load_at"] else "",
        "open rejects": lambda row: f"{row['open_rejects']:,}",
    }
    show_table([{name: show(row) for name, show in columns.items()} for row in rows], console)
    failed: set[str] = set()  # channels, which belong to all datasets of a product
    for row in rows:
        name = escape(row["dataset"])
        lines = []
        if row["error"]:
            lines.append(f"[red]{name}:[/] {escape(row['error'])}")
        for key, number in row["orphans"].items():
            lines.append(
                f"[yellow]{name}:[/] {count_noun(number, 'record')} without the parent that {escape(key)} names"
            )
        if row["waiting_events"]:
            lines.append(f"[blue]{name}:[/] {count_noun(row['waiting_events'], 'pushed event')} waiting")
        if row["queued_loads"]:
            lines.append(f"[blue]{name}:[/] {count_noun(row['queued_loads'], 'load')} queued for a worker")
        if lag := row["lag"]:
            if lag["error"]:
                lines.append(f"[red]{name}:[/] {escape(lag['error'])}")
            lines.append(show_lag(name, lag, now))
        for failing in row["failing_channels"]:
            if failing["channel"] in failed:
                continue
            failed.add(failing["channel"])
            said = f"messages are not taken since {failing['since']:%Y-%m-%d %H:%M}: {failing['error']}"
            lines.append(f"[red]channel {escape(plain(failing['channel']))}:[/] {escape(said)}")
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)


def show_lag(name: str, lag: dict[str, Any], now: datetime) -> str:
    """How far a stream is behind."""
    age = now - lag["measured_at"]
    seen = f", measured {show_age(age)} ago" if age > OLD_MEASUREMENT else ""
    size = sum(each.get("bytes", 0) for each in lag["partitions"])
    noun = "change" if any("bytes" in each for each in lag["partitions"]) else "message"
    if not lag["records"]:
        return f"[green]{name}:[/] every {noun} of {escape(lag['topic'])} is read{seen}"
    since = f" for {show_age(timedelta(seconds=lag['seconds']))}" if lag["seconds"] is not None else ""
    waiting = f"{count_noun(lag['records'], noun)} of {escape(lag['topic'])} waiting"
    waiting += f" in {size:,} bytes of log" if size else ""
    return f"[yellow]{name}:[/] {waiting}{since}{seen}"


def show_last_load(row: dict[str, Any], now: datetime) -> str:
    """The outcome of the last load, and its age."""
    if row["last_load"] is None:
        return "none"
    color = COLORS.get(row["last_load"], "white")
    return f"[{color}]{row['last_load']}[/] {show_age(now - row['last_load_at'])} ago"


def show_freshness(row: dict[str, Any]) -> str:
    """`fresh`, or by how much it is late."""
    if row["fresh"] is None:
        return ""
    if row["fresh"]:
        return "[green]fresh[/]"
    if row["late_seconds"] is None:
        return "[red]never loaded[/]"
    return f"[red]late by {show_age(timedelta(seconds=row['late_seconds']))}[/]"
