"""Commands about loads: `ingest`, `status`, `loads`."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.storage.statuses import LOAD_STATUSES
from commands.common import Address, AsJson, load_contracts, open_urls, out
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog
    from catalog.model.dataset import Dataset
    from ingest.loading.load_report import LoadReport
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings


def ingest(address: Address = None, as_json: AsJson = False) -> None:
    """Load the current content of the inputs."""
    from commands.show.load_reports import reports_as_json, show_reports

    settings, catalog = load_contracts()
    datasets = catalog.find(address)
    if not address:
        # Without an address, datasets without an input are left out; with one, they are reported.
        datasets = [dataset for dataset in datasets if dataset.input is not None]
    with open_urls(settings) as urls:
        reports = run_loads(settings, urls, catalog, datasets, silent=as_json)
    if as_json:
        typer.echo(reports_as_json(reports))
    elif out.is_terminal:
        show_reports(reports, out)
    if any(report.status in {"failed", "withheld"} for report in reports):
        raise typer.Exit(1)


def status(address: Address = None, as_json: AsJson = False) -> None:
    """Show the state of every dataset: last load, freshness, queued loads, waiting events, missing parents."""
    from catalog.status.dataset_status import read_status
    from catalog.storage.dataset_tables import build_tables
    from commands.show.dataset_status import show_status
    from runtime.postgres.database import make_read_engine

    settings, catalog = load_contracts()
    now = datetime.now(UTC)
    with open_urls(settings) as urls:
        datasets = catalog.find(address)
        # Tables are made where records without a parent are counted: of thousands they would take seconds.
        linked = {each.schema: catalog.product_of(each) for each in datasets if each.foreign_keys}
        tables = build_tables(linked.values())
        if any(dataset.input is not None and dataset.input.fed.streamed for dataset in datasets):
            measure_lags(settings, catalog, urls, datasets)
        rows = read_status(make_read_engine(urls.read), catalog, tables, datasets, now)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
    else:
        show_status(rows, now, out)


def measure_lags(settings: Settings, catalog: Catalog, urls: DatabaseUrls, datasets: list[Dataset]) -> None:
    """Measures how far streams are behind, also while no worker does."""
    from catalog.storage.dataset_tables import build_tables
    from ingest.loading.loader import Loader
    from ingest.worker.watch_streams import note_lags
    from runtime.postgres.database import make_engine

    tables = build_tables(catalog.products.values())
    note_lags(Loader(settings, catalog, tables, make_engine(urls.ingest)), datasets)


def loads(
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS|show]", help="PRODUCT[@MAJOR][.DATASET], or `show`.")
    ] = None,
    number: Annotated[int | None, typer.Argument(metavar="N", help="With `show`: the load's number.")] = None,
    state: Annotated[
        str | None, typer.Option("--status", help=f"Only loads of this status: {', '.join(LOAD_STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of loads, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest loads; `show N` shows everything about load N."""
    from commands.show.load_history import show_load, show_loads
    from ingest.inspection.load_history import list_loads, read_load
    from runtime.postgres.database import make_read_engine

    if state is not None and state not in LOAD_STATUSES:
        raise CatalogError(f"--status must be one of {', '.join(LOAD_STATUSES)}.")
    if (address == "show") != (number is not None):
        raise CatalogError("`decant loads show N` shows one load; `decant loads [ADDRESS]` lists them.")
    settings, catalog = load_contracts()
    with open_urls(settings) as urls:
        engine = make_read_engine(urls.read)
        if number is not None:
            load = read_load(engine, number)
            typer.echo(json.dumps(load, indent=2, default=str)) if as_json else show_load(load, out)
            return
        rows = list_loads(engine, catalog.find(address), state, limit)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
    else:
        show_loads(rows, datetime.now(UTC), out)


def run_loads(
    settings: Settings, urls: DatabaseUrls, catalog: Catalog, datasets: list[Dataset], *, silent: bool = False
) -> list[LoadReport]:
    """Loads the datasets one after the other: a bar for each in a terminal, otherwise a line as each ends."""
    from sqlalchemy.exc import DBAPIError

    from catalog.storage.dataset_tables import build_tables
    from commands.show.load_reports import show_line
    from commands.show.progress_bars import LoadBar, make_bars
    from ingest.inspection.column_statistics import refresh_profiles
    from ingest.ledger.progress import Progress
    from ingest.loading.load_report import report_unopened
    from ingest.loading.loader import Loader
    from runtime.postgres.database import keep_engine

    reports = []
    with keep_engine(urls.ingest) as engine:
        loader = Loader(settings, catalog, build_tables(catalog.products.values()), engine)
        with make_bars(out) as bars:
            for dataset in datasets:
                more = True
                while more:
                    bar = LoadBar(bars, dataset.name) if out.is_terminal and not silent else None
                    try:
                        reports.append(loader.run(dataset, bar or Progress()))
                    except Exception as error:
                        # The other datasets are loaded all the same.
                        reports.append(report_unopened(dataset, error))
                    if bar:
                        bar.finish(reports[-1])
                    elif not silent:
                        show_line(reports[-1], out)
                    more = reports[-1].more
        # A failed profile does not undo a publication.
        with out.status("profiling published datasets") if not silent else nullcontext(), suppress(DBAPIError):
            refresh_profiles(engine, loader.tables, datasets)
    return reports
