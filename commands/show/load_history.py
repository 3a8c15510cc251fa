"""Loads of the ledger, in a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from catalog.status.ages import show_age
from catalog.storage.statuses import order_steps
from commands.show.tables import COLORS, count_noun, show_table
from ingest.inspection.load_history import COUNTS


def show_loads(rows: list[dict[str, Any]], now: datetime, console: Console) -> None:
    """The loads as a table, and below it the errors of failed loads."""
    if not rows:
        console.print("No loads.")
        return
    shown = []
    for row in rows:
        color = COLORS.get(row["status"], "white")
        shown.append(
            {"load": str(row["id"]), "dataset": escape(row["dataset"])}
            | {"kind": "" if row["kind"] == "ingest" else row["kind"]}
            | {"outcome": f"[{color}]{row['status']}[/]"}
            | {"records": show_count(row["raw"])}
            | {"rejected": show_count(row["rejected"]), "duplicates": show_count(row["duplicates"] or None)}
            | {"seconds": f"{row['seconds']:.1f}" if row["seconds"] is not None else ""}
            | {"when": f"{show_age(now - (row['finished_at'] or row['started_at']))} ago"}
        )
    show_table(shown, console)
    for row in rows:
        if row["error"]:
            head = f"load {row['id']}: {row['error_code']}"
            console.print(f"[red]{escape(head)}:[/] {escape(row['error'])}", highlight=False, soft_wrap=True)


def show_count(number: int | None) -> str:
    """A count; empty where there is none."""
    return "" if number is None else f"{number:,}"


def show_load(load: dict[str, Any], console: Console) -> None:
    """Everything about one load, one field on each line."""
    color = COLORS.get(load["status"], "white")

    def print_field(name: str, text: str | None) -> None:
        if text:
            console.print(f"[dim]{name:<12}[/] {text}", highlight=False, soft_wrap=True)

    print_field(f"load {load['id']}", f"{escape(load['dataset'])}, {load['kind']}, [{color}]{load['status']}[/]")
    print_field("revision", str(load["revision"] or ""))
    print_field("records", ", ".join(f"{load[name]:,} {name}" for name in COUNTS if load[name] is not None))
    print_field("started", show_time(load["started_at"]) if load["status"] != "queued" else None)
    print_field("ended", show_time(load["finished_at"]))
    print_field("attempt", str(load["attempt"]) if load["attempt"] > 1 else None)
    print_field("retry at", show_time(load["retry_at"]))
    print_field("scheduled", show_time(load["scheduled_at"]))
    print_field("requested by", escape(load["requested_by"] or ""))
    print_field("request", escape(show_facts(load["request"])))
    print_field("cause", escape(show_facts(load["cause"])))
    print_field("source", escape(load["source"] or ""))
    if load["parts"] and load["parts"] != [load["source"]]:
        shown = load["parts"][:10]
        rest = len(load["parts"]) - len(shown)
        print_field("parts", escape(", ".join(map(str, shown)) + (f" and {rest:,} more" if rest else "")))
    print_field("position", escape(show_facts(load["position"])))
    print_field("batch", load["batch_sha256"])
    steps = order_steps(load["step_seconds"] or {})
    print_field("steps", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in steps.items()))
    print_field("trace", load["trace_id"])
    if load["error"]:
        print_field("error", f"[red]{escape(load['error_code'] or '')}:[/] {escape(load['error'])}")
    for note in load["notes"]:
        print_field("note", escape(str(note)))
    for gate in load["gates"]:
        print_field("gate", show_gate(gate))
    for reason in load["reasons"]:
        print_field("rejected", show_reason(reason))


def show_gate(gate: dict[str, Any]) -> str:
    """The measurement of a rule."""
    word = (
        "[green]passed[/]"
        if gate["passed"]
        else "[red]failed[/]"
        if gate["severity"] == "error"
        else "[yellow]failed[/]"
    )
    measured = "no value" if gate["measured"] is None else f"{gate['measured']:g}"
    text = gate["error"] or f"measured {measured}, must be {gate['bound']}"
    return f"{word} {escape(gate['rule'])}: {escape(text)}"


def show_reason(reason: dict[str, Any]) -> str:
    """A reason for rejection with its first record."""
    sample = reason["sample"]
    place = f"{sample['file']}, line {sample['line']:,}" if sample["file"] else f"line {sample['line']:,}"
    what = f"{reason['property']}: {reason['rule']}" if reason["property"] else reason["rule"]
    return escape(f"{count_noun(reason['records'], 'record')}, {what}; first {place}: {sample['message']}")


def show_facts(facts: dict[str, object] | None) -> str:
    """A small JSON object in a line."""
    return ", ".join(
        f"{name} {show_facts(fact)}" if isinstance(fact, dict) else f"{name}={fact}"
        for name, fact in (facts or {}).items()
    )


def show_time(time: datetime | None) -> str | None:
    """A time in UTC, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%SZ}" if time else None
