"""Commands about webhooks: `subscriptions create`, `list`, `deliveries`, `test`, `replay`, `rotate` and so on.

They act for whoever runs the installation, on every key's subscriptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from commands.common import AsJson, load_contracts, out
from commands.keys import find_operator, on_database
from runtime.errors import CatalogError

if TYPE_CHECKING:
    from api.admin.subscription_store import By

SubscriptionId = Annotated[str, typer.Argument(metavar="ID", help="The subscription's id.")]


def create(
    product: Annotated[str, typer.Argument(help="PRODUCT or PRODUCT@MAJOR.")],
    address: Annotated[str, typer.Argument(help="Where events are sent: an https address.")],
    key: Annotated[str, typer.Option(help="The id of the key that owns it: what it may read is told.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="A kind of event; can be repeated. Default: revision.published.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this dataset; can be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a webhook for a key, and show its secret, once."""
    from api.admin.subscription_body import read_draft
    from api.admin.subscription_store import find_key, make_subscription
    from api.auth.authenticator import Principal
    from runtime.settings.secret import read_secret

    settings, catalog = load_contracts()
    name, _, major = product.partition("@")
    if major and not (major.isascii() and major.isdigit()):
        raise CatalogError(f"{product!r}: the major version must be a number.")
    asked: dict[str, Any] = {"product": name, "address": address, "datasets": dataset or None, "kinds": kind or None}
    asked["major"] = int(major) if major else None

    async def make(connection: Any) -> dict[str, object]:
        owner, scopes = await find_key(connection, key)
        draft = read_draft(catalog, settings, Principal(key, scopes, line=owner), asked)
        limit = settings.subscriptions_limit
        return await make_subscription(connection, read_secret(settings), draft, operator(), owner, limit)

    show_secret(on_database(make), as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List the webhooks, newest first; never their secrets."""
    from api.admin.subscription_store import list_subscriptions

    found = on_database(lambda connection: list_subscriptions(connection, operator()))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show_rows(
        "No subscriptions.",
        [
            {
                "id": row["id"],
                "product": escape(f"{row['product']}@{row['major']}"),
                "kinds": " ".join(row["kinds"]),
                "address": escape(row["address"]),
                "state": row["state"],
                "reason": escape(row["reason"] or ""),
                "delivered": (row["delivered_at"] or "never")[:19],
            }
            for row in found
        ],
    )


def deliveries(
    subscription: SubscriptionId,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of deliveries, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was sent to a webhook, newest first."""
    from api.admin.subscription_store import list_deliveries

    found, _ = on_database(lambda connection: list_deliveries(connection, operator(), subscription, None, limit))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show_rows(
        "Nothing was sent.",
        [
            {
                "sent": row["sent_at"][:19],
                "event": row["id"],
                "kind": row["kind"],
                "dataset": escape(row["dataset"] or ""),
                "revision": "" if row["revision"] is None else str(row["revision"]),
                "attempt": str(row["attempt"]),
                "status": "delivered" if row["delivered"] else escape(row["error"]),
            }
            for row in found
        ],
    )


def test(subscription: SubscriptionId) -> None:
    """Let a worker send a test event."""
    from api.admin.subscription_store import ask_test

    on_database(lambda connection: ask_test(connection, operator(), subscription))
    say(f"A worker sends a test event; `decant subscriptions deliveries {subscription}` shows the outcome.")


def replay(
    subscription: SubscriptionId,
    event: Annotated[str | None, typer.Option("--id", help="The id of one event that was sent.")] = None,
    since: Annotated[str | None, typer.Option(help="Everything since this time, such as 2026-01-31T00:00Z.")] = None,
) -> None:
    """Let a worker send one event again, or everything since a time."""
    from api.admin.subscription_body import read_since
    from api.admin.subscription_store import ask_replay, rewind

    if (event is None) == (since is None):
        raise CatalogError("One of --id and --since is needed.")

    async def ask(connection: Any) -> None:
        if event is not None:
            await ask_replay(connection, operator(), subscription, event)
        else:
            await rewind(connection, operator(), subscription, read_since(since))

    on_database(ask)
    say(f"A worker sends it again; `decant subscriptions deliveries {subscription}` shows the outcome.")


def rotate(subscription: SubscriptionId, as_json: AsJson = False) -> None:
    """Give a webhook a new secret, and show it, once; the one before signs beside it for 24 hours."""
    from api.admin.subscription_store import rotate_secret
    from runtime.settings.secret import read_secret
    from runtime.settings.settings import load_settings

    secret = read_secret(load_settings())
    facts = on_database(lambda connection: rotate_secret(connection, secret, operator(), subscription))
    show_secret(facts, as_json=as_json)


def enable(subscription: SubscriptionId) -> None:
    """Enable a webhook: it is sent what it has missed, of each dataset the newest revision."""
    switch(subscription, active=True)
    say(f"Subscription {subscription} is enabled.")


def disable(subscription: SubscriptionId) -> None:
    """Disable a webhook: nothing more is sent until it is enabled."""
    switch(subscription, active=False)
    say(f"Subscription {subscription} is disabled.")


def delete(subscription: SubscriptionId) -> None:
    """Delete a webhook and the log of its deliveries."""
    from api.admin.subscription_store import delete_subscription

    on_database(lambda connection: delete_subscription(connection, operator(), subscription))
    say(f"Subscription {subscription} is deleted.")


COMMANDS: dict[str, Callable[..., None]] = {
    "create": create,
    "list": list_,
    "deliveries": deliveries,
    "test": test,
    "replay": replay,
    "rotate": rotate,
    "enable": enable,
    "disable": disable,
    "delete": delete,
}


def switch(subscription: str, *, active: bool) -> None:
    """Enables or disables a webhook; a worker judges the rights of its key when it sends."""
    from api.admin.subscription_body import draft_of
    from api.admin.subscription_store import change_subscription, get_subscription

    async def change(connection: Any) -> None:
        facts = await get_subscription(connection, operator(), subscription)
        await change_subscription(connection, operator(), subscription, draft_of(facts), active=active)

    on_database(change)


def operator() -> By:
    """Who runs the command: somebody who may change every subscription."""
    from api.admin.subscription_store import By

    return By(find_operator(), None)


def show_secret(facts: dict[str, object], *, as_json: bool) -> None:
    """Shows a webhook with its secret, once."""
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        out.print(
            f"{facts['id']}\n{facts['secret']}\n[dim]Keep the secret: it is not shown again.[/]", highlight=False
        )


def show_rows(nothing: str, rows: list[dict[str, str]]) -> None:
    """Shows a table, or that there is nothing."""
    from commands.show.tables import show_table

    if rows:
        show_table(rows, out)
    else:
        out.print(nothing)


def say(text: str) -> None:
    """Prints a sentence."""
    out.print(escape(text), highlight=False, soft_wrap=True)
