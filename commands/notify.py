"""Commands about messages to people: `notify test`, `notify now`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from commands.common import AsJson, load_contracts, open_urls, out
from runtime.errors import CatalogError
from runtime.plain_text import plain


def try_channels(
    product: Annotated[str | None, typer.Argument(help="PRODUCT[@MAJOR]; default: all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message to every channel of the contracts, and say how each went; exit status 1 where one fails."""
    from ingest.notifying.notifier import send_test
    from ingest.notifying.record import channels_of

    settings, catalog = load_contracts()
    places = {(dataset.product, dataset.major) for dataset in catalog.find(product)}
    channels = [each for each in channels_of(catalog).values() if (each.product, each.major) in places]
    if not channels:
        raise CatalogError("No contract names a channel with the custom property notify.")
    rows = []
    for channel in channels:
        error = send_test(settings, catalog, channel, datetime.now(UTC))
        rows.append({"channel": channel.key, "tool": channel.tool, "sent": error is None, "error": error})
        if not as_json:
            outcome = "[green]sent[/]" if error is None else f"[red]not sent:[/] {escape(plain(error))}"
            out.print(f"{escape(channel.key)} ({channel.tool}): {outcome}", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    if not all(row["sent"] for row in rows):
        raise typer.Exit(1)


def now() -> None:
    """Look for incidents and send what is due, once: for a timer that also tells when no worker is alive."""
    from ingest.notifying.notifier import Notifier
    from runtime.postgres.database import keep_engine

    settings, catalog = load_contracts()
    with open_urls(settings) as urls, keep_engine(urls.ingest) as engine:
        tried = Notifier(settings, engine, lambda: catalog).run_round()
    out.print(f"Messages tried: {tried}. `decant status` shows channels that fail.", highlight=False)
