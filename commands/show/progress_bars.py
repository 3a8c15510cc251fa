"""Progress of loads, in a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from catalog.storage.statuses import LOAD_STEPS
from commands.show.tables import COLORS
from ingest.ledger.progress import Progress
from ingest.loading.load_report import LoadReport


class LoadBar(Progress):
    """A bar for one load, which restarts for each step."""

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
        self.bars.update(self.task, total=total, completed=0, step=LOAD_STEPS.get(step, step), refresh=True)

    def advance(self, amount: int) -> None:
        """Moves the bar: bytes while landing, records while parsing."""
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
        """Replaces the bar by the outcome."""
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
