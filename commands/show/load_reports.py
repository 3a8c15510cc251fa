"""Reports of loads: for a terminal, and as JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape

from commands.show.tables import COLORS, COUNTED, show_table
from ingest.loading.load_report import LoadReport
from ingest.publishing.candidate import Outcome


def show_reports(reports: Iterable[LoadReport], console: Console) -> None:
    """One line for each load, and below it errors, notes and failed gates."""
    rows, notes = [], []
    for report in reports:
        outcome = report.outcome
        color = COLORS.get(report.status, "white")
        # The lines below name the product; here the dataset's name is enough.
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


def show_line(report: LoadReport, console: Console) -> None:
    """One load as it ends, for a log: a line, and one for each error, note and failed gate."""
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
    """Counts of inserted, updated and deleted records: `+12 ~3 -1`."""
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
            # A load that its owner published anyway was not withheld.
            word = "withheld by" if held else "overridden" if measurement.withholds else "warning"
            yield f"[{color}]{name}: {word}:[/] {escape(str(measurement))}"


def reports_as_json(reports: Iterable[LoadReport]) -> str:
    """The reports as JSON. A load that only compared its raw batch has no counts."""
    return json.dumps([describe_report(report) for report in reports], indent=2, default=str)


def describe_report(report: LoadReport) -> dict[str, object]:
    """One load for a script."""
    facts = asdict(report) | {"status": report.status}
    if report.outcome and report.outcome.status == "unchanged" and not report.outcome.raw:
        facts["outcome"] = {"status": "unchanged", "revision": report.outcome.revision}
        facts["outcome"] |= {"record_count": report.outcome.record_count}
    return facts
