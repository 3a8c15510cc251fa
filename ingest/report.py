"""What a person sees of ingestion in a terminal, and what a script reads of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from catalog.contract import Catalog
from catalog.dataset import Dataset
from catalog.errors import Finding
from catalog.models import DatasetHead, Load, RejectedRecord
from ingest.load import LoadReport
from ingest.progress import Progress
from ingest.publish import Outcome

COLORS = {"published": "green", "unchanged": "cyan", "withheld": "yellow", "failed": "red", "running": "blue"}
STEP_WORDS = {
    "land": "landing",
    "cut": "cutting records",
    "clean": "cleaning and judging",
    "stage": "staging",
    "publish": "publishing",
    "vacuum": "tidying",
}


class LoadBar(Progress):
    """A bar for one load, which runs anew for each of its steps."""

    def __init__(self, bars: Bars, dataset: str) -> None:
        self.bars = bars
        self.step = ""
        self.done_so_far = 0
        self.task: TaskID = bars.add_task(dataset, total=None, step="waiting", amount="")

    def start(self, step: str, total: int | None) -> None:
        """Shows the step."""
        self.step, self.done_so_far = step, 0
        # One more than there is: a bar that reaches its total has stopped its clock for good.
        total = None if total is None else total + 1
        self.bars.update(self.task, total=total, completed=0, step=STEP_WORDS.get(step, step))

    def advance(self, amount: int) -> None:
        """Moves the bar: bytes while landing, records while cutting."""
        self.done_so_far += amount
        shown = f"{self.done_so_far / 1e6:.1f} MB" if self.step == "land" else f"{self.done_so_far:,} records"
        self.bars.update(self.task, completed=self.done_so_far, amount=shown)

    def finish(self, report: LoadReport) -> None:
        """Leaves the outcome where the bar was."""
        color = COLORS.get(report.status, "white")
        outcome = report.outcome
        amount = f"{outcome.raw:,} records" if outcome and outcome.raw else ""
        if outcome and outcome.rejected:
            amount += f", {outcome.rejected:,} rejected"
        self.bars.update(self.task, total=1, completed=1, amount=amount, step=f"[{color}]{report.status}[/]")


def make_bars(console: Console) -> Bars:
    """The bars of a run of loads; outside a terminal they are silent."""
    return Bars(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("{task.fields[step]}"),
        TextColumn("[dim]{task.fields[amount]}[/]"),
        console=console,
        disable=not console.is_terminal,
    )


def show_reports(reports: Iterable[LoadReport], console: Console) -> None:
    """One line for each load, and below it whatever its owner should know."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("dataset", "outcome"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in ("records", "accepted", "rejected", "doubled", "changes", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    notes: list[str] = []
    for report in reports:
        outcome = report.outcome
        color = COLORS.get(report.status, "white")
        counts = [""] * 5
        if outcome and outcome.raw:
            numbers = (outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates)
            counts = [*(f"{number:,}" for number in numbers), show_changes(outcome)]
        # The product stands in the address of every line below; here its datasets are enough.
        name = report.dataset.partition(".")[2]
        table.add_row(name, f"[{color}]{report.status}[/]", *counts, f"{report.seconds:.1f}")
        notes += list(explain(report))
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)


def show_changes(outcome: Outcome) -> str:
    """What became new, changed or was deleted: `+12 ~3 -1`."""
    signs = (("+", outcome.inserted), ("~", outcome.updated), ("-", outcome.deleted))
    return " ".join(f"{sign}{number:,}" for sign, number in signs if number)


def explain(report: LoadReport) -> Iterable[str]:
    """Why a load failed, was withheld or rejected records."""
    name = escape(report.dataset)
    if report.error:
        yield f"[red]{name}: {escape(report.error_code or '')}:[/] {escape(report.error)}"
    for note in report.notes:
        yield f"[dim]{name}: {escape(note)}[/]"
    if report.outcome is None:
        return
    for reason in report.outcome.reasons:
        yield f"[yellow]{name}: rejected:[/] {escape(str(reason))}"
    for measurement in report.outcome.measurements:
        if not measurement.passed:
            color = "red" if measurement.withholds else "yellow"
            word = "withheld by" if measurement.withholds else "warning"
            yield f"[{color}]{name}: {word}:[/] {escape(str(measurement))}"


def reports_as_json(reports: Iterable[LoadReport]) -> str:
    """The same for scripts."""
    return json.dumps([asdict(report) | {"status": report.status} for report in reports], indent=2, default=str)


def read_status(engine: sa.Engine, catalog: Catalog, datasets: Iterable[Dataset]) -> list[dict[str, Any]]:
    """Each dataset's head, last load and number of open rejected records."""
    heads = sa.select(DatasetHead.__table__)
    last = sa.select(sa.func.max(Load.id)).group_by(Load.dataset_id)
    loads = sa.select(Load.__table__).where(Load.id.in_(last))
    rejects = (
        sa.select(RejectedRecord.dataset_id, sa.func.count())
        .where(RejectedRecord.state == "open")
        .group_by(RejectedRecord.dataset_id)
    )
    with engine.connect() as connection:
        head_rows = {(h.product, h.major, h.dataset): h for h in connection.execute(heads)}
        load_rows = {row.dataset_id: row for row in connection.execute(loads)}
        open_rejects = {row[0]: row[1] for row in connection.execute(rejects)}
    found = []
    for dataset in datasets:
        head = head_rows.get((dataset.product, dataset.major, dataset.name))
        load = load_rows.get(head.id) if head else None
        found.append(
            {
                "dataset": dataset.address,
                "version": catalog.product_of(dataset).version,
                "revision": head.revision if head else None,
                "records": head.record_count if head else None,
                "published_at": head.published_at if head else None,
                "last_load": load.status if load else None,
                "last_load_at": (load.finished_at or load.started_at) if load else None,
                "error": load.error if load else None,
                "open_rejects": open_rejects.get(head.id, 0) if head else 0,
            }
        )
    return found


def show_status(rows: list[dict[str, Any]], console: Console) -> None:
    """The status as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("dataset", "revision", "records", "published", "last load", "open rejects"):
        table.add_column(name, justify="right" if name in {"revision", "records", "open rejects"} else "left")
    for row in rows:
        published = row["published_at"].strftime("%Y-%m-%d %H:%M:%SZ") if row["published_at"] else "never"
        color = COLORS.get(row["last_load"] or "", "white")
        table.add_row(
            row["dataset"],
            str(row["revision"] if row["revision"] is not None else "not migrated"),
            f"{row['records'] or 0:,}",
            published,
            f"[{color}]{row['last_load'] or 'none'}[/]",
            f"{row['open_rejects']:,}",
        )
    console.print(table)
    for row in rows:
        if row["error"]:
            console.print(f"[red]{row['dataset']}:[/] {escape(row['error'])}", highlight=False, soft_wrap=True)


def show_findings(findings: list[Finding], datasets: int, console: Console) -> None:
    """Each finding on its line, and a closing one."""
    for finding in findings:
        color = "red" if finding.severity == "error" else "yellow"
        console.print(f"[{color}]{finding.severity}[/] {escape(str(finding))}", highlight=False, soft_wrap=True)
    errors = sum(finding.severity == "error" for finding in findings)
    console.print(f"{datasets} datasets, {errors} errors, {len(findings) - errors} warnings")
