"""`decant replication create` and `drop`: the slots that replicated tables are read from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from commands.common import AsJson, load_contracts, open_urls, out
from commands.quarantine import DatasetAddress, find_one
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.model.catalog import Catalog
    from catalog.model.dataset import Dataset
    from ingest.inputs.replication.slots import SlotChange
    from runtime.settings.settings import Settings

    ChangeSlot = Callable[..., SlotChange]


def create(address: DatasetAddress, as_json: AsJson = False) -> None:
    """Make a replicated table's publication and slot where they do not exist; the next load reads the whole table."""
    from ingest.inputs.replication.slots import create_slot

    settings, catalog = load_contracts()
    change = run_change(create_slot, settings, catalog, find_one(catalog, address))
    made = f"made {' and '.join(change.made)}" if change.made else "publication and slot exist"
    show(change, f"{made}; {change.slot} begins at {change.lsn}, and the next load reads the whole table", as_json)


def drop(
    address: DatasetAddress,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the slot of a replicated table: changes from now on are not kept. Publication and records stay."""
    from ingest.inputs.replication.slots import drop_slot

    settings, catalog = load_contracts()
    dataset = find_one(catalog, address)
    if not yes:
        if not sys.stdin.isatty():
            raise CatalogError("Changes are not kept without the slot: add --yes.")
        typer.confirm(f"Drop the replication slot of {dataset.address}? Its changes are lost.", abort=True)
    change = run_change(drop_slot, settings, catalog, dataset)
    show(change, f"dropped the slot {change.slot}", as_json)


def run_change(change: ChangeSlot, settings: Settings, catalog: Catalog, dataset: Dataset) -> SlotChange:
    """What was changed, with the login of ingestion."""
    from catalog.storage.dataset_tables import build_tables
    from ingest.ledger.audit import who_runs_this
    from runtime.postgres.database import make_engine

    tables = build_tables(catalog.products.values())
    with open_urls(settings) as urls:
        return change(settings, tables, make_engine(urls.ingest), dataset, who_runs_this())


def show(change: SlotChange, said: str, as_json: bool) -> None:
    """Says what was changed."""
    if as_json:
        typer.echo(json.dumps(asdict(change), indent=2))
    else:
        out.print(f"{change.dataset}: {said}", highlight=False, markup=False)
