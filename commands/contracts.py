"""Commands about contracts: `migrate`, `contract lint`, `contract diff`, `contract init`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from commands.common import AsJson, err, load_contracts, open_urls, out
from runtime.errors import CatalogError, ContractError

if TYPE_CHECKING:
    from catalog.model.dataset import Product
    from ingest.drafting.draft import Draft
    from runtime.settings.settings import Settings


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Show the changes without making them.")] = False,
    revise: Annotated[
        bool | None,
        typer.Option(
            "--revise/--no-revise",
            help="Write scripts for changed contracts; default: for your own, not for shipped ones.",
        ),
    ] = None,
    allow_data_loss: Annotated[
        bool, typer.Option(help="Allow a contract to drop columns or change their type.")
    ] = False,
    rebuild_scripts: Annotated[
        bool, typer.Option("--rebuild-scripts", help="Restore missing scripts of HOME/migrations from the database.")
    ] = False,
) -> None:
    """Migrate the database to the contracts."""
    from catalog.migration.migrate import migrate as run_migration
    from catalog.migration.migrate import plan_migration

    settings, catalog = load_contracts()
    with open_urls(settings) as urls:
        if plan:
            lines = plan_migration(settings, urls.owner, catalog)
            out.print("\n".join(lines) or "Nothing to change.", highlight=False, markup=False, soft_wrap=True)
            return
        report = run_migration(
            settings,
            urls.owner,
            catalog,
            revise=revise,
            allow_loss=allow_data_loss,
            rebuild=rebuild_scripts,
        )
    for step in report.steps:
        out.print("\n".join(step.lines()), highlight=False, markup=False, soft_wrap=True)
    for path in report.written:
        out.print(f"written  {path}", highlight=False, soft_wrap=True)
    for name in report.applied:
        out.print(f"applied  {name}", highlight=False, soft_wrap=True)
    for warning in report.warnings:
        out.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    if not report.applied:
        out.print(
            "The database matches the contracts already: nothing to change." if report.steps else "Nothing to change."
        )


def lint(
    path: Annotated[
        Path | None, typer.Argument(help="A contract, or a folder of contracts; default: DECANT_CONTRACTS.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check contracts and list all findings of all files."""
    from commands.show.findings import show_findings
    from ingest.cleaning.lint import lint as lint_all
    from runtime.settings.settings import load_settings

    findings, count = lint_all(load_settings(), path)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, default=str))
    else:
        show_findings(findings, count, out)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def diff(
    old: Annotated[Path, typer.Argument(help="The contract before the change.")],
    new: Annotated[Path, typer.Argument(help="The contract after the change.")],
    as_json: AsJson = False,
) -> None:
    """List the changes between two contracts and the version step that they need; fail where NEW moved by less."""
    from catalog.migration.compare_contracts import compare_contracts
    from runtime.settings.settings import load_settings

    settings = load_settings()
    before, after = (read_valid_contract(file, settings) for file in (old, new))
    if before.id != after.id:
        raise CatalogError(
            f"{old} is a contract of {before.id}, {new} of {after.id}: only versions of one product are compared."
        )
    comparison = compare_contracts(before, after)
    if as_json:
        changes = [asdict(change) | {"step": change.step.word} for change in comparison.changes]
        facts = {
            "product": after.id,
            "old_version": comparison.old_version,
            "new_version": comparison.new_version,
            "step": comparison.step.word if comparison.step else None,
            "lowest_version": comparison.lowest_version,
            "problem": comparison.problem,
            "changes": changes,
        }
        typer.echo(json.dumps(facts, indent=2))
    else:
        out.print(f"{after.id} " + "\n".join(comparison.lines()), highlight=False, markup=False, soft_wrap=True)
        if comparison.problem:
            out.print(f"[bold red]error:[/] {escape(comparison.problem)}", highlight=False, soft_wrap=True)
    if comparison.problem:
        raise typer.Exit(1)


def read_valid_contract(file: Path, settings: Settings) -> Product:
    """The product of one contract file; ContractError lists every error of the file."""
    from catalog.contract.load import read_contract

    product, findings = read_contract(file, settings)
    if product is None:
        raise ContractError([finding for finding in findings if finding.severity == "error"])
    return product


def init(
    file: Annotated[
        Path, typer.Argument(help="A sample: CSV, TSV, NDJSON, JSON, Parquet or XLSX, compressed or not.")
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write the contract to; default: print it.")
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header", help="Whether the first line holds the column names; default: detected."
        ),
    ] = None,
) -> None:
    """Write a first contract from a sample file: types, null tokens, key, examples."""
    from ingest.drafting.draft import draft_contract
    from runtime.settings.settings import load_settings

    if out_file is not None and out_file.exists():
        raise CatalogError(f"{out_file} exists already: choose another name, or move the file.")
    draft = draft_contract(file, load_settings(), header=header)
    if out_file is None:
        typer.echo(draft.text, nl=False)
    else:
        out_file.parent.mkdir(parents=True, exist_ok=True)
        out_file.write_text(draft.text, encoding="utf-8")
        err.print(f"written  {out_file}", highlight=False, soft_wrap=True)
    # On stderr, so that the contract alone can be piped.
    for line in describe_draft(draft):
        err.print(line, highlight=False, markup=False, soft_wrap=True)


def describe_draft(draft: Draft) -> Iterator[str]:
    """What the author of a drafted contract should know, one line each."""
    yield f"records  {draft.records:,} read" + "".join(
        f", {count:,} {word}"
        for count, word in ((draft.malformed, "malformed"), (draft.rejected, "to be rejected"))
        if count
    )
    if draft.made_up_key:
        yield (
            "key      none found: no combination of up to three columns is unique."
            f" {draft.key[0]} is a digest of the whole record; replace it where a better key is known"
        )
    else:
        yield f"key      {', '.join(draft.key)}"
    for note in draft.notes:
        yield f"note     {note}"
    yield "next     decant contract lint, decant migrate, decant ingest (with DECANT_CONTRACTS naming its folder)"
