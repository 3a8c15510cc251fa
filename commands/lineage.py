"""`decant lineage`: where each property of a dataset comes from."""

from __future__ import annotations

import json

import typer

from commands.common import AsJson, load_contracts, out
from commands.quarantine import DatasetAddress


def lineage(address: DatasetAddress, as_json: AsJson = False) -> None:
    """Show where each property comes from: raw columns, files, addresses, other datasets."""
    from catalog.model.lineage import to_json, trace_lineage
    from commands.show.lineage import show_lineage

    _, catalog = load_contracts()
    traced = [trace_lineage(catalog, dataset) for dataset in catalog.find(address)]
    if as_json:
        typer.echo(json.dumps([to_json(one) for one in traced], indent=2))
        return
    for one in traced:
        show_lineage(one, out)
