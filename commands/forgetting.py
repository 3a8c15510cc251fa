"""Retention commands: `prune` deletes what is older than its retention, `erase` deletes one key."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from commands.common import Address, AsJson, load_contracts, open_urls, out
from commands.quarantine import DatasetAddress, find_one
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from ingest.retention.prune import Pruned


def prune(address: Address = None, as_json: AsJson = False) -> None:
    """Delete history, rejected records, events and raw batches that are older than the contract's retention."""
    from catalog.storage.dataset_tables import build_tables
    from ingest.loading.loader import Loader
    from ingest.loading.prune_datasets import prune_datasets
    from runtime.postgres.database import make_engine

    settings, catalog = load_contracts()
    datasets = catalog.find(address)
    tables = build_tables(catalog.products.values())
    with open_urls(settings) as urls:
        engine = make_engine(urls.ingest)
        found = prune_datasets(Loader(settings, catalog, tables, engine), datasets)
    if as_json:
        typer.echo(json.dumps([asdict(pruned) for pruned in found], indent=2))
    elif not found:
        out.print("No contract here sets a retention (slaProperties: retention).")
    else:
        show_pruned(found)
    if any(pruned.error for pruned in found):
        raise typer.Exit(1)


def show_pruned(found: list[Pruned]) -> None:
    """A line for each dataset that was pruned, or could not be."""
    for pruned in found:
        if pruned.error:
            out.print(
                f"[red]{pruned.dataset}: not pruned:[/] {escape(pruned.error)}", highlight=False, soft_wrap=True
            )
            continue
        parts = [
            f"{pruned.records:,} old records" if pruned.records else "",
            f"{pruned.history:,} rows of history" if pruned.history else "",
            f"{pruned.rejected:,} rejected records" if pruned.rejected else "",
            f"{pruned.events:,} events" if pruned.events else "",
            f"{pruned.batches:,} raw batches ({pruned.bytes / 1e6:.1f} MB)" if pruned.batches else "",
        ]
        gone = ", ".join(part for part in parts if part) or "nothing to delete"
        out.print(f"{pruned.dataset}: {gone}; readable from revision {pruned.oldest_revision:,}", highlight=False)


def erase(
    address: DatasetAddress,
    key: Annotated[str, typer.Argument(help="The record's key; a composite key as parts separated by commas.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase one key from current records, history, quarantine, pushed events and raw batches. It cannot be undone."""
    from catalog.model.load_request import Erase
    from catalog.model.record_key import hash_key, split_key
    from catalog.storage.dataset_tables import build_tables
    from commands.show.load_reports import reports_as_json, show_reports
    from ingest.inspection.column_statistics import refresh_profiles
    from ingest.ledger.audit import record_audit, who_runs_this
    from ingest.loading.loader import Loader
    from ingest.retention.erase import read_key
    from runtime.postgres.database import make_engine

    settings, catalog = load_contracts()
    dataset = find_one(catalog, address)
    parts = split_key(dataset, key)
    read_key(dataset, parts)
    if not yes:
        if not sys.stdin.isatty():
            raise CatalogError("Erasing cannot be undone: add --yes.")
        typer.confirm(f"Erase one key of {dataset.address}, its history and its raw records?", abort=True)
    with open_urls(settings) as urls:
        engine = make_engine(urls.ingest)
        by = who_runs_this()
        loader = Loader(settings, catalog, build_tables(catalog.products.values()), engine)
        digest = hash_key(dataset, parts)
        report = loader.run(dataset, request=Erase(tuple(parts), digest), requested_by=by)
        if report.outcome is None:  # else its own transaction has recorded it
            with engine.begin() as connection:
                facts = {"load": report.load_id, "key_sha256": digest}
                record_audit(connection, by, "erase", dataset, facts=facts)
        refresh_profiles(engine, loader.tables, [dataset])
    if as_json:
        typer.echo(reports_as_json([report]))
    else:
        show_reports([report], out)
    if report.status == "failed":
        raise typer.Exit(1)
