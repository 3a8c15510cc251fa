"""Commands about contracts: `migrate`, `contract lint`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from catalog.settings import load_settings
from commands.common import AsJson, load_contracts, open_urls, out


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would change.")] = False,
    revise: Annotated[
        bool | None,
        typer.Option(
            "--revise/--no-revise", help="Write scripts for changed contracts; default: for yours, not ours."
        ),
    ] = None,
    allow_data_loss: Annotated[bool, typer.Option(help="Let a contract drop or retype columns.")] = False,
) -> None:
    """Bring the database to the contracts."""
    from catalog.migration import migrate as run_migration
    from catalog.migration import plan_migration

    settings, catalog = load_contracts()
    with open_urls(settings) as urls:
        if plan:
            lines = plan_migration(settings, urls.owner, catalog)
            out.print("\n".join(lines) or "Nothing to change.", highlight=False, markup=False)
            return
        report = run_migration(settings, urls.owner, catalog, revise=revise, allow_loss=allow_data_loss)
    for path in report.written:
        out.print(f"written  {path}", highlight=False)
    for name in report.applied:
        out.print(f"applied  {name}", highlight=False)
    if not report.applied:
        out.print("Nothing to change.")


def lint(
    path: Annotated[Path | None, typer.Argument(help="A contract or a folder of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check contracts; every error of every file at once."""
    from ingest.lint import lint as lint_all
    from ingest.report import show_findings

    findings, count = lint_all(load_settings(), path)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, default=str))
    else:
        show_findings(findings, count, out)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
