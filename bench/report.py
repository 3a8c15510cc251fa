"""What was measured, as tables for people and as one JSON document."""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.big import PAGE_RECORDS, SLOWDOWN, BigPagination
from bench.cases import Case
from bench.ingest import IngestResult, median_steps
from bench.limits import Compared
from bench.memory import PEAK_MB, BigExport
from bench.older import SPREAD, State

TENTHS_BELOW_MS = 10


def show_machine(machine: dict[str, Any], out: Console) -> None:
    """Nothing comes back; prints what the figures depend on."""
    out.print(
        f"{machine['cores']} cores, load {machine['load_average_before']} before the start,"
        f" Python {machine['python']}, PostgreSQL {machine['postgres']}",
        style="dim",
        highlight=False,
    )


def show_ingest(result: IngestResult, out: Console) -> None:
    """Nothing comes back; prints the loads beside their yardstick."""
    runs = len(result.yardstick_seconds)
    table = Table(title=f"Ingestion of {result.records:,} flights ({runs} counted, medians)", title_justify="left")
    for name in ("", "seconds", "times as fast as COPY", "target", "seconds by step"):
        table.add_column(name, justify="left" if name in {"", "seconds by step"} else "right")
    table.add_row("bare COPY (yardstick)", f"{median(result.yardstick_seconds):.2f}", "1", "", spread(result))
    for case in result.cases:
        steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in median_steps(case).items())
        seconds, ratio = median(case.seconds), result.ratio(case)
        table.add_row(case.title, f"{seconds:.2f}", check(ratio, case.target), f"≥ {case.target:g}", steps)
    out.print(table)


def show_serve(cases: list[Case], processes: int, out: Console) -> None:
    """Nothing comes back; prints requests per second, latencies and ratios, and what missed its target."""
    services = list(cases[0].rounds)
    others = [name for name in services if name != "decant"]
    rounds = len(cases[0].rounds["decant"])
    title = (
        f"Serving; processes each: {processes}; medians of {rounds} rounds\n"
        "requests per second; p50, p99 in ms; times as many by Decant (target)"
    )
    # Eighty columns are enough for five services: no ratio has a column of its own.
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("")
    for name in services:
        table.add_column(name, justify="right", no_wrap=True)
    for case in cases:
        facts = case.as_json()["services"]
        cells = (service_text(facts[name]) + (ratio_text(case, name) if name in others else "") for name in services)
        table.add_row(case.title, *cells)
    out.print(table)
    missed = [
        f"{case.title}: {case.ratio(name):.2f} × {name}, not {case.targets[name]:g}"
        for case in cases
        for name in others
        if name in case.targets and case.ratio(name) < case.targets[name]
    ]
    show_missed(missed, out)


def show_older(states: list[State], out: Console) -> None:
    """Nothing comes back; prints a page's requests per second by revision, and what missed its target."""
    rounds = len(next(iter(states[0].rounds.values())))
    title = f"Page of 100 by revision, requests per second; medians of {rounds} rounds"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for place in (*states[0].paths, "apart", "target"):
        table.add_column(place, justify="right", no_wrap=True)
    for state in states:
        rates = (f"{state.rate(place):,.0f}" for place in state.paths)
        apart = check(-state.spread, -SPREAD).replace("-", "")
        history = f"{state.title}\nhistory {state.history / state.records:.2f} times current"
        table.add_row(history, *rates, apart, f"≤ {SPREAD:g}")
    out.print(table)
    missed = [f"page {state.title}: {state.spread:.2f} apart, not {SPREAD:g}" for state in states]
    show_missed([line for line, state in zip(missed, states, strict=True) if state.spread > SPREAD], out)


def show_big(walk: BigPagination, out: Console) -> None:
    """Nothing comes back; prints how long the first and the last pages of a walk take."""
    table = Table(title=f"Walk over {walk.records:,} records", title_justify="left")
    for name in (f"pages of {PAGE_RECORDS}", "seconds", "first, ms", "last, ms", "times as long", "target"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{walk.pages:,}",
        f"{walk.seconds:,.0f}",
        f"{walk.first_ms:.2f}",
        f"{walk.last_ms:.2f}",
        check(-walk.slowdown, -SLOWDOWN).replace("-", ""),
        f"≤ {SLOWDOWN:g}",
    )
    out.print(table)
    if walk.slowdown > SLOWDOWN:
        show_missed([f"the last pages: {walk.slowdown:.2f} times as long as the first, not {SLOWDOWN:g}"], out)
    show_exports(walk.exports, out)


def show_exports(exports: list[BigExport], out: Console) -> None:
    """Nothing comes back; prints the memory that the server needed for each whole export."""
    table = Table(title="Exports of all of them, and the server's memory", title_justify="left")
    for name in ("format", "MB", "seconds", "idle, MB", "peak, MB", "target"):
        table.add_column(name, justify="right")
    for export in exports:
        peak = check(-export.peak_mb, -PEAK_MB).replace("-", "")
        facts = (f"{export.bytes / 1e6:,.0f}", f"{export.seconds:,.0f}", f"{export.idle_mb:,.0f}", peak)
        table.add_row(export.form, *facts, f"≤ {PEAK_MB}")
    out.print(table)
    over = [export for export in exports if export.peak_mb > PEAK_MB]
    show_missed([f"the export as {export.form}: {export.peak_mb:.0f} MB, not {PEAK_MB}" for export in over], out)


def show_missed(missed: list[str], out: Console) -> None:
    """Nothing comes back; prints each target that was missed."""
    for line in missed:
        out.print(f"missed: {line}", style="yellow", highlight=False, markup=False)


def show_compared(compared: list[Compared], out: Console) -> None:
    """Nothing comes back; prints what was measured in pairs, and what missed its target."""
    table = Table(title="Serving, in pairs (medians)", title_justify="left")
    for name in ("", "this", "of that", "ratio", "target"):
        table.add_column(name, justify="right" if name else "left")
    for one in compared:
        table.add_row(
            one.title,
            f"{one.ours:,.0f} {one.unit}",
            f"{one.theirs:,.0f} {one.unit}",
            check(one.ratio, one.target),
            f"≥ {one.target:g}" if one.target else "",
        )
    out.print(table)
    missed = [one for one in compared if one.target and one.ratio < one.target]
    show_missed([f"{one.title}: {one.ratio:.2f}, not {one.target:g}" for one in missed], out)


def ratio_text(case: Case, name: str) -> str:
    """How many times as many Decant answers as this service, with the target."""
    target = case.targets.get(name)
    return f"\n× {check(case.ratio(name), target)}" + (f" ≥ {target:g}" if target else "")


def service_text(facts: dict[str, Any]) -> str:
    """Requests per second and latencies of one service."""
    return f"{facts['requests_per_second']:,.0f}\n{short(facts['p50_ms'])}, {short(facts['p99_ms'])}"


def short(milliseconds: float) -> str:
    """A latency with its first digits: from ten on, tenths say nothing."""
    return f"{milliseconds:.1f}" if milliseconds < TENTHS_BELOW_MS else f"{milliseconds:.0f}"


def check(ratio: float, target: float | None) -> str:
    """The ratio, green where it reaches its target."""
    text = f"{ratio:.2f}"
    if target is None:
        return text
    return f"[green]{text}[/]" if ratio >= target else f"[yellow]{text}[/]"


def spread(result: IngestResult) -> str:
    """The fastest and the slowest run of the yardstick: how noisy the machine was."""
    return f"from {min(result.yardstick_seconds):.2f} to {max(result.yardstick_seconds):.2f}"
