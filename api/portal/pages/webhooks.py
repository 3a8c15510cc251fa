"""The webhooks of the visitor's key: made, tried, ended; and what was sent to one of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from api.http.problems import Problem
from api.portal.action import Action, sign_in_path
from api.portal.asking import Asking, Parameters
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.signing_in.form import Form
from catalog.storage.outbox import KINDS
from catalog.storage.subscription_rights import OPERATORS_SCOPE, SUBSCRIBED_KINDS
from runtime.json_types import JsonObject

PATH = "/account/webhooks"
DELIVERIES_SHOWN = 50
STATES = {"active": "fresh", "failing": "late", "disabled": "failed"}  # as `parts.state` colours them


@dataclass(frozen=True)
class Offered:
    """A product whose datasets a webhook can be about."""

    value: str  # as forms and addresses have it
    name: str
    datasets: list[str]

    @classmethod
    def of(cls, product: dict[str, Any]) -> Offered:
        """A product of the catalogue."""
        value = f"{product['product']}@{product['major']}"
        names = sorted(dataset["dataset"] for dataset in product["datasets"])
        return cls(value, f"{product['name']} v{product['major']}", names)


async def build_webhooks(asking: Asking) -> Content:
    """The page; who has not signed in does it first."""
    if asking.principal.id is None:
        raise Elsewhere(sign_in_path(PATH))
    listed, catalogue = await asyncio.gather(asking.get("/subscriptions"), asking.get("/data"))
    products = [Offered.of(product) for product in catalogue.data]
    wanted = asking.request.query_params.get("product")
    only = products[0] if len(products) == 1 else None
    operates = OPERATORS_SCOPE in asking.principal.scopes
    known = [(name, KINDS[name]) for name in SUBSCRIBED_KINDS]
    values = {
        "webhooks": listed.data,
        "states": STATES,
        "products": products,
        "chosen": next((each for each in products if each.value == wanted), only),
        "kinds": [(name, kind.meaning) for name, kind in known if operates or kind.audience != "operators"],
    }
    return Content("webhooks.html", "Webhooks", values, is_kept=False, indexed=False, alternate="/subscriptions")


async def build_webhook(asking: Asking) -> Content:
    """One webhook, and what was sent to it."""
    if asking.principal.id is None:
        raise Elsewhere(sign_in_path(PATH))
    path = asking.fill("/subscriptions/{subscription}")
    parameters: Parameters = [("limit", str(DELIVERIES_SHOWN))]
    if before := asking.request.query_params.get("before"):
        parameters.append(("before", before))
    one, sent = await asyncio.gather(asking.get(path), asking.get(f"{path}/deliveries", *parameters))
    behind = sent.value["next"]
    values = {
        "webhook": one.data,
        "states": STATES,
        "deliveries": sent.data,
        "next": f"{asking.fill(PATH + '/{subscription}')}?{urlsplit(behind).query}" if behind else None,
    }
    return Content("webhook.html", "A webhook", values, is_kept=False, indexed=False, alternate=path)


async def make_webhook(asking: Asking, form: Form) -> Content:
    """The new webhook, with its secret, shown this once."""
    product, _, major = form.get("product").rpartition("@")
    if not product or not major.isascii() or not major.isdigit():
        raise Problem("invalid_value", "Choose a product.")
    document: JsonObject = {"product": product, "major": int(major), "address": form.get("address")}
    document["kinds"] = form.all("kind") or ["revision.published"]
    if names := form.all("dataset"):
        document["datasets"] = names
    return show_secret("A new webhook", (await asking.post("/subscriptions", document)).data)


async def rotate_secret(asking: Asking, _form: Form) -> Content:
    """The new secret, shown this once."""
    return show_secret("A new secret", (await asking.post(address_of(asking, "/rotate"), {})).data)


async def send_test(asking: Asking, _form: Form) -> Content:
    """Has a test event sent."""
    await asking.post(address_of(asking, "/test"), {})
    raise back_to(asking)


async def send_again(asking: Asking, form: Form) -> Content:
    """Has an event sent again, or everything since a day."""
    day = form.get("since")
    asked: JsonObject = {"since": f"{day}T00:00:00Z"} if day else {"id": form.get("event")}
    await asking.post(address_of(asking, "/replays"), asked)
    raise back_to(asking)


async def switch(asking: Asking, form: Form) -> Content:
    """Disables a webhook, or enables it again."""
    await asking.patch(address_of(asking), {"active": form.get("active") == "yes"})
    raise back_to(asking)


async def remove(asking: Asking, _form: Form) -> Content:
    """Deletes a webhook with its log."""
    await asking.delete(address_of(asking))
    raise Elsewhere(PATH)


def show_secret(title: str, webhook: JsonObject) -> Content:
    """The secret of a webhook, this once."""
    return Content("webhook_secret.html", title, {"webhook": webhook}, is_kept=False, indexed=False)


def address_of(asking: Asking, action: str = "") -> str:
    """The address in the API of the webhook that a form is about."""
    return asking.fill("/subscriptions/{subscription}") + action


def back_to(asking: Asking) -> Elsewhere:
    """The page of the webhook that a form is about."""
    return Elsewhere(asking.fill(PATH + "/{subscription}"))


ONE = PATH + "/{subscription}"
WEBHOOKS = Page("portal webhooks", PATH, build_webhooks)
WEBHOOK = Page("portal webhook", ONE, build_webhook)
MAKE_WEBHOOK = Action("portal webhook made", PATH, make_webhook, needs_fresh=True)
ROTATE_SECRET = Action("portal webhook secret rotated", f"{ONE}/rotate", rotate_secret, needs_fresh=True)
SEND_TEST = Action("portal webhook tested", f"{ONE}/test", send_test)
SEND_AGAIN = Action("portal webhook replayed", f"{ONE}/replays", send_again)
SWITCH = Action("portal webhook switched", f"{ONE}/switch", switch)
REMOVE = Action("portal webhook deleted", f"{ONE}/delete", remove)
ACTIONS = (MAKE_WEBHOOK, ROTATE_SECRET, SEND_TEST, SEND_AGAIN, SWITCH, REMOVE)
