"""Subscriptions as bodies of requests ask for them, held against what the caller may know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.admin.subscription_store import SubscriptionDraft
from api.auth.authenticator import Principal
from api.auth.permissions import find_dataset, find_product, lacks_scope
from api.http.problems import Problem, closest
from api.http.request_body import member_problem
from catalog.model.catalog import Catalog
from catalog.model.webhook_address import allowed_networks, read_topic, refuse_address
from catalog.storage.outbox import KINDS
from catalog.storage.subscription_rights import OPERATORS_SCOPE, SUBSCRIBED_KINDS
from runtime.json_types import Json, JsonObject
from runtime.settings.settings import Settings

DEFAULT_KINDS = ("revision.published",)
LIST_MAXIMUM = 100
TOPIC_SCHEME = "topic:"
TOPICS_SCOPE = "ops:write"  # whose keys may have events sent to topics


def read_draft(catalog: Catalog, settings: Settings, principal: Principal, asked: JsonObject) -> SubscriptionDraft:
    """The subscription that a body asks for; a problem where the caller may not know what it would be told."""
    product, major = asked.get("product"), asked.get("major")
    if not isinstance(product, str) or not product:
        raise member_problem("product", "must be the id of a product")
    if major is None:
        known = any(name == product for name, _ in catalog.products)
        major = catalog.newest_major(product) if known else 0
    if type(major) is not int:
        raise member_problem("major", "must be an integer")
    find_product(catalog, principal, product, str(major))
    draft = SubscriptionDraft(product, major, None, DEFAULT_KINDS, "")
    return change_draft(catalog, settings, principal, draft, {"address": None} | asked)


def change_draft(
    catalog: Catalog, settings: Settings, principal: Principal, draft: SubscriptionDraft, asked: JsonObject
) -> SubscriptionDraft:
    """A subscription with what a body changes of it, judged as a new one is."""
    if "datasets" in asked:
        draft = replace(draft, datasets=read_names("datasets", asked["datasets"]))
    if "kinds" in asked:
        kinds = read_names("kinds", asked["kinds"]) or DEFAULT_KINDS
        for kind in kinds:
            if kind not in SUBSCRIBED_KINDS:
                near = closest(kind, SUBSCRIBED_KINDS) or list(SUBSCRIBED_KINDS)
                error: JsonObject = {"pointer": "/kinds", "message": "unknown kind", "allowed": list(near)}
                raise Problem("invalid_value", f"kinds: unknown kind {json.dumps(kind)[:200]}", errors=[error])
        draft = replace(draft, kinds=kinds)
    if "address" in asked:
        draft = replace(draft, address=read_address(settings, principal, asked["address"]))
    find_product(catalog, principal, draft.product, str(draft.major))
    for dataset in draft.datasets or ():
        find_dataset(catalog, principal, draft.product, str(draft.major), dataset)
    if OPERATORS_SCOPE not in principal.scopes and any(KINDS[kind].audience == "operators" for kind in draft.kinds):
        raise lacks_scope(OPERATORS_SCOPE)
    return draft


def read_names(name: str, value: Json) -> Sequence[str] | None:
    """A list of names, each once; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, list) or not 0 < len(value) <= LIST_MAXIMUM:
        raise member_problem(name, f"must be a list of 1 to {LIST_MAXIMUM} names")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) < len(value):
        raise member_problem(name, "must be a list of names")
    return tuple(dict.fromkeys(texts))


def read_address(settings: Settings, principal: Principal, value: Json) -> str:
    """The address of a receiver, or a topic of a broker that the operator names, for those who may operate."""
    if isinstance(value, str) and value.startswith(TOPIC_SCHEME):
        found = read_topic(value)
        if found is None or found[0] not in settings.event_brokers:
            raise member_problem("address", "must be topic:BROKER/NAME with a broker of DECANT_EVENT_BROKERS")
        if TOPICS_SCOPE not in principal.scopes:
            raise lacks_scope(TOPICS_SCOPE)
        return value
    networks = allowed_networks(settings.webhook_networks, development=settings.env == "development")
    if not isinstance(value, str):
        raise member_problem("address", "must be an address such as https://hooks.example/decant")
    if (refusal := refuse_address(value, networks)) is not None:
        raise member_problem("address", refusal)
    return value


def read_since(value: Json) -> datetime:
    """The moment from which on everything is to be sent again."""
    try:
        since = datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        since = None
    if since is None:
        raise member_problem("since", "must be a time such as 2026-01-31T00:00:00Z")
    return since


def draft_of(facts: dict[str, Any]) -> SubscriptionDraft:
    """A subscription as it is."""
    return SubscriptionDraft(facts["product"], facts["major"], facts["datasets"], facts["kinds"], facts["address"])
