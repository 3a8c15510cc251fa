"""Commands about loads: `ingest`, `status`."""

from __future__ import annotations

import json

import typer

from catalog.contract import Catalog
from catalog.database import DatabaseUrls
from catalog.dataset import Dataset
from catalog.settings import Settings
from commands.common import Address, AsJson, load_contracts, open_urls, out
from ingest.load import LoadReport
from ingest.report import reports_as_json, show_reports


def ingest(address: Address = None, as_json: AsJson = False) -> None:
    """Load what the inputs hold now."""
    settings, catalog = load_contracts()
    datasets = catalog.find(address)
    if not address:
        # Without a name: whatever has an input. With one, a dataset without an input says so.
        datasets = [dataset for dataset in datasets if dataset.input is not None]
    with open_urls(settings) as urls:
        reports = run_loads(settings, urls, catalog, datasets, silent=as_json)
    if as_json:
        typer.echo(reports_as_json(reports))
    else:
        show_reports(reports, out)
    if any(report.status in {"failed", "withheld"} for report in reports):
        raise typer.Exit(1)


def status(address: Address = None, as_json: AsJson = False) -> None:
    """Show every dataset's revision, records, last load and open rejected records."""
    from catalog.database import make_engine
    from ingest.report import read_status, show_status

    settings, catalog = load_contracts()
    with open_urls(settings) as urls:
        rows = read_status(make_engine(urls.read), catalog, catalog.find(address))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
    else:
        show_status(rows, out)


def run_loads(
    settings: Settings, urls: DatabaseUrls, catalog: Catalog, datasets: list[Dataset], *, silent: bool = False
) -> list[LoadReport]:
    """Loads the datasets one after the other, with a bar for each where somebody watches."""
    from catalog.database import make_engine
    from catalog.tables import build_tables
    from ingest.load import Loader
    from ingest.progress import Progress
    from ingest.report import LoadBar, make_bars

    loader = Loader(settings, catalog, build_tables(catalog.products.values()), make_engine(urls.ingest))
    reports = []
    with make_bars(out) as bars:
        for dataset in datasets:
            more = True
            while more:
                bar = None if silent else LoadBar(bars, dataset.name)
                reports.append(loader.run(dataset, bar or Progress()))
                if bar:
                    bar.finish(reports[-1])
                more = reports[-1].more
    return reports
