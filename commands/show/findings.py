"""Findings of contracts and reports, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from commands.show.tables import count_noun
from runtime.errors import Finding


def show_findings(findings: list[Finding], count: int, console: Console, noun: str = "dataset") -> None:
    """A line for each finding, and a last line of totals; `noun` says what was checked."""
    for finding in findings:
        color = "red" if finding.severity == "error" else "yellow"
        console.print(f"[{color}]{finding.severity}[/] {escape(str(finding))}", highlight=False, soft_wrap=True)
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counted = ((count, noun), (errors, "error"), (warnings, "warning"))
    console.print(", ".join(count_noun(number, noun) for number, noun in counted))
