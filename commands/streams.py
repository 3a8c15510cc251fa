"""`decant seek`: says where the reading of a stream goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from commands.common import AsJson, load_contracts, open_urls, out
from commands.quarantine import DatasetAddress, find_one


def seek(
    address: DatasetAddress,
    where: Annotated[str, typer.Argument(help="earliest, latest, or a moment such as 2026-01-31T00:00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Say where the reading of a stream goes on: at its earliest or latest message, or at a moment."""
    from catalog.storage.dataset_tables import build_tables
    from ingest.inputs.stream.seek import seek as move
    from ingest.ledger.audit import who_runs_this
    from runtime.postgres.database import make_engine

    settings, catalog = load_contracts()
    dataset = find_one(catalog, address)
    tables = build_tables(catalog.products.values())
    with open_urls(settings) as urls:
        sought = move(settings, tables, make_engine(urls.ingest), dataset, where, who_runs_this())
    if as_json:
        typer.echo(json.dumps(asdict(sought), indent=2))
        return
    before = sought.before.get("next") or {}
    for partition, offset in sought.after["next"].items():
        came_from = f"was {before[partition]:,}" if partition in before else "not read before"
        line = f"{sought.dataset}: partition {partition} goes on at offset {offset:,} ({came_from})"
        out.print(line, highlight=False)
