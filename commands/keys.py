"""Commands about API keys: `keys create`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from catalog.errors import CatalogError
from catalog.settings import load_settings
from commands.common import AsJson, open_urls, out


def create(
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
