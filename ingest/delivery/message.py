"""Events as receivers get them: CloudEvents 1.0 as JSON, signed as Standard Webhooks says. Pure.

An event is thin: it says what happened to which dataset, and its records are read from the API, with the rights that
the reader has then. Its id is made of the event's own number and of its content: one id never has two contents.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runtime.version import read_version

MEDIA_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "io.decant."
TEST_KIND = "subscription.test"


@dataclass(frozen=True)
class Event:
    """An event of the outbox, or a test."""

    event_id: uuid.UUID
    kind: str
    product: str
    major: int
    dataset: str | None  # None for a test
    facts: dict[str, Any]
    created_at: datetime
    sequence: int | None = None  # None for what is sent out of order: a test, a replay


@dataclass(frozen=True)
class Message:
    """What is sent of an event."""

    id: str
    body: bytes


def make_message(event: Event, source: str, *, counts: bool) -> Message:
    """The message of an event; `counts` says whether its reader may know how many records there are."""
    data: dict[str, Any] = {"product": event.product, "major": event.major}
    if event.dataset is not None:
        data["dataset"] = event.dataset
    data |= {name: fact for name, fact in event.facts.items() if counts or name != "counts"}
    subject = (
        f"revisions/{event.facts['revision']}" if "revision" in event.facts else f"loads/{event.facts.get('load')}"
    )
    content: dict[str, Any] = {
        "specversion": "1.0",
        "type": TYPE_PREFIX + event.kind,
        "source": source,
        **({} if event.kind == TEST_KIND else {"subject": subject}),
        "time": event.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    message_id = str(uuid.uuid5(event.event_id, json.dumps(content, sort_keys=True)))
    return Message(message_id, json.dumps({"id": message_id, **content}, ensure_ascii=False).encode())


def make_headers(message: Message, secrets: Iterable[bytes], now: datetime) -> dict[str, str]:
    """The headers of a message, signed with each secret that is valid now."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message.id}.{timestamp}.".encode() + message.body
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "Content-Type": MEDIA_TYPE,
        "User-Agent": f"decant/{read_version()}",
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
