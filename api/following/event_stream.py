"""Revisions and endings as server-sent events (HTML standard, 9.2). Pure."""

from __future__ import annotations

import json
from datetime import UTC

from api.database.published_heads import Head
from api.http.addresses import address_of
from api.http.negotiation import MediaType
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject
from runtime.settings.settings import Settings

EVENT_STREAM = MediaType("event-stream", "text/event-stream; charset=utf-8", coded=False)
QUIET = b": quiet\n\n"
# Why a stream ends: what it means, and whether the same request may be answered again.
ENDINGS: dict[str, tuple[str, bool]] = {
    "service_stopped": ("The service stops or restarts: connect again.", True),
    "unavailable": ("The database did not answer, so that the credential could not be checked: connect again.", True),
    "unauthorized": ("The credential has expired or was revoked.", False),
    "not_found": ("The credential no longer opens the dataset.", False),
    "product_retired": ("The contract of this product is retired.", False),
    "epoch_ended": ("The database was restored from a backup: begin a new copy with since=0.", False),
    "revision_gone": ("Records were erased, or history was pruned: begin a new copy with since=0.", False),
    "dataset_removed": ("The dataset is no longer in the database.", False),
}


def write_beginning(retry_ms: int) -> bytes:
    """The first bytes of a stream: how long clients wait before they connect again."""
    return b"retry: %d\n%b" % (retry_ms, QUIET)


def write_event(name: str, facts: JsonObject, event_id: int | None = None) -> bytes:
    """An event whose data is one line of JSON."""
    identity = b"" if event_id is None else b"id: %d\n" % event_id
    data = json.dumps(facts, separators=(",", ":"))  # escapes all but ASCII, line ends too
    return b"%bevent: %b\ndata: %b\n\n" % (identity, name.encode(), data.encode())


def write_revision(
    settings: Settings, dataset: Dataset, epoch: str, head: Head, since: int, *, counted: bool
) -> bytes:
    """The event of a revision for a follower that was told of `since` last.

    Without `counted` nothing is said that counts all records: the follower sees some of them only.
    """
    changes = address_of(settings, f"{dataset.path}/changes?since={since}&at={head.revision}&epoch={epoch}")
    facts: JsonObject = {
        "product": dataset.product,
        "major": dataset.major,
        "dataset": dataset.name,
        "revision": head.revision,
        "epoch": epoch,
        "published_at": head.published_at.astimezone(UTC).isoformat() if head.published_at else None,
    }
    if counted:
        facts |= {
            "record_count": head.record_count,
            "inserted": head.inserted,
            "updated": head.updated,
            "deleted": head.deleted,
        }
    return write_event("revision", facts | {"changes": changes}, head.revision)


def write_end(reason: str) -> bytes:
    """The last event of a stream."""
    detail, reconnect = ENDINGS[reason]
    return write_event("end", {"reason": reason, "detail": detail, "reconnect": reconnect})
