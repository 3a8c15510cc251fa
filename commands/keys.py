"""Commands about API keys: `keys create`, `list`, `rotate`, `revoke`."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from commands.common import AsJson, load_contracts, open_urls, out
from runtime.errors import CatalogError
from runtime.settings.rate import parse_rate

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog

SPAN = re.compile(r"([0-9]{1,5})\s*(s|min|h|d)")
UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}
LISTED = 1000
T = TypeVar("T")
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id: the part between dcnt_ and the next _.")]


def create(
    name: Annotated[str, typer.Argument(help="Name of the key's holder.")],
    scope: Annotated[list[str], typer.Option(help="A scope of the key, such as nyc-flights:read; can be repeated.")],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: never.")] = None,
    rate: Annotated[str | None, typer.Option(help="Its own rate limit, such as 600/minute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it, once."""
    from api.admin.key_store import Once, make_key
    from api.auth.api_keys import KeyDraft, read_peppers

    settings, catalog = load_contracts()
    require_known(catalog, scope)
    if rate is not None:
        try:
            parse_rate(rate)
        except ValueError as error:
            raise CatalogError(f"--rate: {error}.") from None
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    by = find_operator()
    draft = KeyDraft(name, tuple(dict.fromkeys(scope)), expires, rate, by)
    peppers = read_peppers(settings)
    facts = on_database(lambda connection: make_key(connection, peppers, draft, Once(by, "keys create", None, "")))
    show_new(facts, as_json=as_json)


def list_(
    state: Annotated[str, typer.Option(help="State of the keys: active, revoked, expired or all.")] = "active",
    as_json: AsJson = False,
) -> None:
    """List the API keys, newest first; never their secrets."""
    from api.admin.key_store import STATES, list_keys

    if state not in STATES:
        raise CatalogError(f"--state must be one of {', '.join(STATES)}.")
    keys, _ = on_database(lambda connection: list_keys(connection, state, None, LISTED))
    if as_json:
        typer.echo(json.dumps(keys, indent=2))
        return
    if not keys:
        out.print("No keys.")
        return
    from commands.show.tables import show_table

    rows = [
        {
            "id": key["id"],
            "name": escape(key["name"]),
            "scopes": escape(" ".join(key["scopes"])),
            "state": "replaced" if key["replaced_by"] and key["state"] == "active" else key["state"],
            "expires": (key["expires_at"] or "never")[:10],
            "last used": (key["last_used_at"] or "never")[:10],
            "rate": key["rate_limit"] or "",
        }
        for key in keys
    ]
    show_table(rows, out)


def rotate(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old key stays valid: 1d, 12h, 30min, 0s.")] = "1d",
    as_json: AsJson = False,
) -> None:
    """Create a key that replaces another one; both are valid for an overlap."""
    from api.admin.key_store import Once, Rotation, rotate_key
    from api.auth.api_keys import read_peppers
    from runtime.settings.settings import load_settings

    match = SPAN.fullmatch(overlap.strip())
    if match is None:
        raise CatalogError(f"--overlap: {overlap!r} is not a duration such as 1d, 12h, 30min or 0s.")
    span = timedelta(**{UNITS[match[2]]: int(match[1])})
    settings = load_settings()
    peppers, once = read_peppers(settings), Once(find_operator(), "keys rotate", None, "")
    rotation = Rotation(key_id, span, None, settings.key_line_days)
    facts = on_database(lambda connection: rotate_key(connection, peppers, rotation, once))
    show_new(facts, as_json=as_json)


def revoke(
    key_id: KeyId,
    only: Annotated[
        bool, typer.Option("--only", help="Keep valid the keys that it replaced, and those that replaced it.")
    ] = False,
) -> None:
    """Revoke a key and its line (keys that it replaced or that replaced it), everywhere within five seconds."""
    from api.admin.key_store import Once, revoke_key

    once = Once(find_operator(), "keys revoke", None, "")
    revoked = on_database(lambda connection: revoke_key(connection, key_id, once, only=only))
    others = [other for other in revoked if other != key_id]
    beside = f", and with it {', '.join(others)} of the same line" if others else ""
    out.print(f"Key {escape(key_id)} is revoked{beside}.", highlight=False, soft_wrap=True)


def require_known(catalog: Catalog, scopes: list[str]) -> None:
    """CatalogError for a scope that no contract here defines."""
    from api.auth.api_keys import known_scopes
    from api.http.problems import closest

    known = known_scopes(catalog)
    for scope in scopes:
        if scope not in known:
            near = closest(scope, known)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise CatalogError(f"There is no scope {scope!r}{hint}")


def find_operator() -> str:
    """Who runs the command, for the audit log."""
    from ingest.ledger.audit import who_runs_this

    return who_runs_this()


def on_database(use: Callable[[Any], Awaitable[T]]) -> T:
    """The result of `use` with a connection of the write login; a problem becomes a CatalogError."""
    import asyncio

    from api.http.problems import Problem
    from runtime.postgres.poolers import PoolableConnection
    from runtime.settings.settings import load_settings

    async def run(url: str) -> T:
        async with await PoolableConnection.connect(url, autocommit=True, connect_timeout=5) as connection:
            await connection.configure({})
            try:
                return await use(connection)
            except Problem as problem:
                raise CatalogError(problem.detail) from None

    with open_urls(load_settings()) as urls:
        return asyncio.run(run(urls.write))


def show_new(facts: dict[str, object], *, as_json: bool) -> None:
    """Shows a new key, once."""
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        out.print(f"{facts['key']}\n[dim]Keep it: it is not shown again.[/]", highlight=False)
