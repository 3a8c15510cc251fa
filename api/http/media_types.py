"""The media types of pushed records."""

from __future__ import annotations

from api.http.problems import Problem

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/jsonl")
CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS = "application/cloudevents-batch+json"
MEDIA_TYPES = (JSON, *NDJSON, CLOUD_EVENT, CLOUD_EVENTS)


def unsupported(message: str) -> Problem:
    """The problem with another media type; it names those that are taken."""
    taken = ", ".join(MEDIA_TYPES)
    return Problem("unsupported_media_type", f"{message}: send {taken}.", headers={"Accept-Post": taken})
