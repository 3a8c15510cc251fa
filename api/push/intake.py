"""What pushed records are taken in with, beside what every route may take."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from api.http.body_memory import BodyMemory
from api.push.event_store import EventStore


@dataclass(frozen=True)
class Intake:
    """Where events are kept, and the memory that their bodies share."""

    events: EventStore
    bodies: BodyMemory


def intake_of(request: Request) -> Intake:
    """That of the application that a request came to."""
    intake: Intake = request.app.state.intake
    return intake
