"""What every command uses: settings, contracts, the database, consoles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.console import PlainConsole

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
Address = Annotated[str | None, typer.Argument(help="PRODUCT[@MAJOR][.DATASET]; default: all datasets.")]

out = PlainConsole()
err = PlainConsole(stderr=True)


def load_contracts(**overrides: Any) -> tuple[Settings, Catalog]:
    """The settings and the catalogue of the contracts."""
    from catalog.contract.load import load_catalog
    from runtime.settings.settings import load_settings, unknown_variables

    settings = load_settings(**overrides)
    for problem in unknown_variables():
        err.print(problem, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return settings, load_catalog(settings)


@contextmanager
def open_urls(settings: Settings) -> Iterator[DatabaseUrls]:
    """The database's logins; the embedded server runs, and traces are sent, as long as the context lasts."""
    from runtime.postgres.database import open_database
    from runtime.telemetry import open_telemetry

    with open_telemetry("decant"), open_database(settings) as urls:
        yield urls


def given(**options: Any) -> dict[str, object]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
