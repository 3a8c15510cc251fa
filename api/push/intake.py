"""Dependencies of the push endpoints, beside those of every route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request

from api.database.turns import Turns
from api.http.body_memory import BodyMemory
from api.push.body_parser import PROCESS_FROM_BYTES as LARGE_BYTES
from api.push.body_parser import BodyParser
from api.push.event_store import EventStore

TURN_SECONDS = 30.0  # that a large body waits for the large ones before it


@dataclass(frozen=True)
class Intake:
    """Where events are kept, and the memory that their bodies share."""

    events: EventStore
    bodies: BodyMemory
    parser: BodyParser
    # Large bodies one at a time, from text to disk: each may keep a core busy for seconds, here and in the database.
    turns: Turns = field(default_factory=lambda: Turns(1, what="turns for large pushes"))

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """The turn of a body of so many bytes; BusyError where a large one waits in vain."""
        if size < LARGE_BYTES:
            yield
            return
        async with self.turns.turn(TURN_SECONDS):
            yield


def intake_of(request: Request) -> Intake:
    """That of the application that a request came to."""
    intake: Intake = request.app.state.intake
    return intake
