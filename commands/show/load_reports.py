"""What a person sees of ingestion in a terminal, and what a script reads of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ingest.loading.load_report import LoadReport
from ingest.loading.progress import Progress
from ingest.publishing.candidate import Outcome
from runtime.errors import Finding

COLORS = {"published": "green", "unchanged": "cyan", "withheld": "yellow", "failed": "red", "running": "blue"}
COUNTED = ("records", "accepted", "rejected", "duplicates", "changes")
RIGHT = {*COUNTED, "revision", "load", "seconds", "open rejects"}
WIDE = 240  # columns, where nobody's window ends
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
        self.records = 0
        self.started_at = time.monotonic()
        self.task: TaskID = bars.add_task(dataset, total=None, step="waiting", amount="")

    def start(self, step: str, total: int | None) -> None:
        """Shows the step at once, however short it is."""
        self.step, self.done_so_far, self.started_at = step, 0, time.monotonic()
        # One more than there is: a bar that reaches its total has stopped its clock for good.
        total = None if total is None else total + 1
        self.bars.update(self.task, total=total, completed=0, step=STEP_WORDS.get(step, step), refresh=True)

    def advance(self, amount: int) -> None:
        """Moves the bar: bytes while landing, records while cutting."""
        self.done_so_far += amount
        rate = self.done_so_far / max(time.monotonic() - self.started_at, 0.001)
        if self.step == "land":
            shown = f"{self.done_so_far / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
        else:
            self.records = self.done_so_far
            shown = f"{self.records:,} records, {round(rate, -3):,.0f}/s"
        self.bars.update(self.task, completed=self.done_so_far, amount=shown)

    def reject(self, total: int) -> None:
        """Shows how many records are rejected so far."""
        amount = f"{self.records:,} records" + (f", {total:,} rejected" if total else "")
        self.bars.update(self.task, amount=amount)

    def finish(self, report: LoadReport) -> None:
        """Leaves the outcome where the bar was."""
        color = COLORS.get(report.status, "white")
        outcome = report.outcome
        amount = ""
        if outcome and outcome.raw:
            amount = f"{outcome.raw:,} records, {round(outcome.raw / max(report.seconds, 0.001)):,}/s"
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
    rows, notes = [], []
    for report in reports:
        outcome = report.outcome
        color = COLORS.get(report.status, "white")
        # The product stands in the address of every line below; here its datasets are enough.
        row = {"dataset": report.dataset.partition(".")[2], "outcome": f"[{color}]{report.status}[/]"}
        counts = [""] * len(COUNTED)
        if outcome and outcome.raw:
            numbers = (outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates)
            counts = [*(f"{number:,}" for number in numbers), show_changes(outcome)]
        rows.append(row | dict(zip(COUNTED, counts, strict=True)) | {"seconds": f"{report.seconds:.1f}"})
        notes += list(explain(report))
    show_table(rows, console, keep=("dataset", "outcome", *COUNTED, "seconds"))
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)


def show_table(rows: Sequence[dict[str, str]], console: Console, keep: Sequence[str] = ()) -> None:
    """The rows as a table. A column in which nothing stands is left out; outside a terminal no cell is cut."""
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


def show_line(report: LoadReport, console: Console) -> None:
    """One load as it ends, for a log: a line, and one for each thing that its owner should know."""
    outcome = report.outcome
    words = [report.dataset, report.status]
    if outcome and outcome.raw:
        counts = ("records", outcome.raw), ("accepted", outcome.accepted), ("rejected", outcome.rejected)
        words += [", ".join(f"{number:,} {name}" for name, number in (*counts, ("duplicates", outcome.duplicates)))]
        words += [show_changes(outcome)] if show_changes(outcome) else []
    line = "  ".join([*words, f"{report.seconds:.1f} s"])
    console.print(escape(line), highlight=False, soft_wrap=True)
    for note in explain(report):
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
            held = measurement.withholds and report.status == "withheld"
            color = "red" if held else "yellow"
            # What its owner published anyway was not held back.
            word = "withheld by" if held else "passed over" if measurement.withholds else "warning"
            yield f"[{color}]{name}: {word}:[/] {escape(str(measurement))}"


def reports_as_json(reports: Iterable[LoadReport]) -> str:
    """The same for scripts. A load that looked no further than its raw batch has counted nothing."""
    return json.dumps([describe_report(report) for report in reports], indent=2, default=str)


def describe_report(report: LoadReport) -> dict[str, Any]:
    """One load for a script."""
    facts = asdict(report) | {"status": report.status}
    if report.outcome and report.outcome.status == "unchanged" and not report.outcome.raw:
        facts["outcome"] = {"status": "unchanged", "revision": report.outcome.revision}
        facts["outcome"] |= {"record_count": report.outcome.record_count}
    return facts


def show_findings(findings: list[Finding], datasets: int, console: Console) -> None:
    """Each finding on its line, and a closing one."""
    for finding in findings:
        color = "red" if finding.severity == "error" else "yellow"
        console.print(f"[{color}]{finding.severity}[/] {escape(str(finding))}", highlight=False, soft_wrap=True)
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counted = ((datasets, "dataset"), (errors, "error"), (warnings, "warning"))
    console.print(", ".join(count_noun(number, noun) for number, noun in counted))


def count_noun(number: int, noun: str) -> str:
    """`1 dataset`, `2 datasets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
