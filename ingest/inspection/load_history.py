"""The loads of the ledger, as a person or a script asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape

from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import DatasetHead, Load, QualityResult, RejectedRecord
from commands.show.load_reports import COLORS, STEP_WORDS, count_noun, show_table
from ingest.errors import IngestError
from ingest.inspection.dataset_status import show_age

COUNTS = ("raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted", "unchanged")
SAMPLED_REJECTS = 10_000  # of one load, to count its reasons


def list_loads(
    engine: sa.Engine, datasets: Iterable[Dataset], status: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """The latest loads of these datasets, newest first."""
    addresses = [(dataset.product, dataset.major, dataset.name) for dataset in datasets]
    where = sa.tuple_(DatasetHead.product, DatasetHead.major, DatasetHead.dataset).in_(addresses)
    statement = select_loads().where(where).order_by(Load.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(Load.status == status)
    with engine.connect() as connection:
        return [describe(row) for row in connection.execute(statement)]


def read_load(engine: sa.Engine, load_id: int) -> dict[str, Any]:
    """Everything that the ledger knows of one load; IngestError where there is none."""
    with engine.connect() as connection:
        row = connection.execute(select_loads().where(Load.id == load_id)).one_or_none()
        if row is None:
            raise IngestError(f"There is no load {load_id}. `decant loads` lists them.")
        gates = connection.execute(
            sa.select(QualityResult.__table__)
            .where(QualityResult.load_id == load_id)
            .order_by(QualityResult.position)
        )
        return describe(row) | {
            "attempt": row.attempt,
            "requested_by": row.requested_by,
            "request": row.request,
            "scheduled_at": row.scheduled_at,
            "cause": row.cause,
            "retry_at": row.retry_at,
            "source": row.source,
            "batch_sha256": row.batch_sha256,
            "cleaning_sha256": row.cleaning_sha256,
            "parts": [part.get("name") for part in row.parts or (row.landed or {}).get("parts") or []],
            "position": row.position,
            "step_seconds": row.step_seconds,
            "notes": row.notes or [],
            "trace_id": row.trace_id,
            "gates": [
                {name: gate[name] for name in ("rule", "measured", "bound", "passed", "severity", "error")}
                for gate in gates.mappings()
            ],
            "reasons": count_reasons(connection, load_id),
        }


def select_loads() -> sa.Select[Any]:
    """Loads with the address of their dataset."""
    return sa.select(
        Load.__table__, DatasetHead.product, DatasetHead.major, DatasetHead.dataset.label("dataset_name")
    ).join(DatasetHead, DatasetHead.id == Load.dataset_id)


def describe(row: Any) -> dict[str, Any]:
    """One load in a list."""
    seconds = (row.finished_at - row.started_at).total_seconds() if row.finished_at else None
    return {
        "id": row.id,
        "dataset": f"{row.product}@{row.major}.{row.dataset_name}",
        "kind": row.kind,
        "status": row.status,
        "revision": row.revision,
        **{name: getattr(row, name) for name in COUNTS},
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "seconds": seconds,
        "error_code": row.error_code,
        "error": row.error,
    }


def count_reasons(connection: sa.Connection, load_id: int) -> list[dict[str, Any]]:
    """The reasons for rejection of a load's records that still lie in quarantine, most frequent first."""
    newest = (
        sa.select(RejectedRecord.file, RejectedRecord.line, RejectedRecord.reasons)
        .where(RejectedRecord.load_id == load_id)
        .order_by(RejectedRecord.id)
        .limit(SAMPLED_REJECTS)
    )
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for file, line, reasons in connection.execute(newest):
        for reason in reasons:
            place = (reason.get("property"), str(reason.get("rule")))
            sample = {"file": file, "line": line, "value": reason.get("value"), "message": reason.get("message")}
            entry = found.setdefault(place, {"property": place[0], "rule": place[1], "records": 0, "sample": sample})
            entry["records"] += 1
    return sorted(found.values(), key=lambda entry: -entry["records"])


def show_loads(rows: list[dict[str, Any]], now: datetime, console: Console) -> None:
    """The loads as a table; what failed says why below it."""
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
    """A count; nothing where nothing was counted."""
    return "" if number is None else f"{number:,}"


def show_load(load: dict[str, Any], console: Console) -> None:
    """Everything about one load, a fact on each line."""
    color = COLORS.get(load["status"], "white")

    def say(name: str, text: str | None) -> None:
        if text:
            console.print(f"[dim]{name:<12}[/] {text}", highlight=False, soft_wrap=True)

    say(f"load {load['id']}", f"{escape(load['dataset'])}, {load['kind']}, [{color}]{load['status']}[/]")
    say("revision", str(load["revision"] or ""))
    say("records", ", ".join(f"{load[name]:,} {name}" for name in COUNTS if load[name] is not None))
    say("started", show_time(load["started_at"]) if load["status"] != "queued" else None)
    say("ended", show_time(load["finished_at"]))
    say("attempt", str(load["attempt"]) if load["attempt"] > 1 else None)
    say("again", show_time(load["retry_at"]))
    say("scheduled", show_time(load["scheduled_at"]))
    say("asked by", escape(load["requested_by"] or ""))
    say("asked for", escape(show_facts(load["request"])))
    say("because of", escape(show_facts(load["cause"])))
    say("source", escape(load["source"] or ""))
    if load["parts"] and load["parts"] != [load["source"]]:
        shown = load["parts"][:10]
        rest = len(load["parts"]) - len(shown)
        say("parts", escape(", ".join(map(str, shown)) + (f" and {rest:,} more" if rest else "")))
    say("position", escape(show_facts(load["position"])))
    say("batch", load["batch_sha256"])
    steps = load["step_seconds"] or {}
    in_order = [name for name in (*STEP_WORDS, *steps) if name in steps]
    say("steps", ", ".join(f"{name} {steps[name]:.2f} s" for name in dict.fromkeys(in_order)))
    say("trace", load["trace_id"])
    if load["error"]:
        say("error", f"[red]{escape(load['error_code'] or '')}:[/] {escape(load['error'])}")
    for note in load["notes"]:
        say("note", escape(str(note)))
    for gate in load["gates"]:
        say("gate", show_gate(gate))
    for reason in load["reasons"]:
        say("rejected", show_reason(reason))


def show_gate(gate: dict[str, Any]) -> str:
    """A rule as it was measured."""
    word = (
        "[green]kept[/]"
        if gate["passed"]
        else "[red]broken[/]"
        if gate["severity"] == "error"
        else "[yellow]broken[/]"
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


def show_facts(facts: dict[str, Any] | None) -> str:
    """A small JSON object in a line."""
    return ", ".join(
        f"{name} {show_facts(fact)}" if isinstance(fact, dict) else f"{name}={fact}"
        for name, fact in (facts or {}).items()
    )


def show_time(time: datetime | None) -> str | None:
    """A time in UTC, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%SZ}" if time else None
