"""The stream of a dataset's revisions, as server-sent events: of the newest one, never a backlog."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from api.auth.authenticator import read_credential
from api.auth.identify import caller_name
from api.datasets.changes import check_kept, read_since
from api.datasets.endpoint import VARY
from api.datasets.kind import Asked, send_answer
from api.datasets.whole_answer import revision_headers
from api.following.describing import follow_operation
from api.following.event_stream import EVENT_STREAM, write_beginning
from api.following.follower import Caller, Follower
from api.following.followers import Followers
from api.http.header_fields import Fields
from api.http.negotiation import MediaType
from api.http.open_answer import LINE, Line, wait_until_gone
from api.http.problems import parameter_problem
from api.http.security_events import PRINCIPAL
from api.query.parameters import Draft, Reader, read_draft, read_epoch
from api.query.question import Pin, Question, Target
from api.query.view import View
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject

LAST_EVENT_ID = "Last-Event-ID"
RETRY_MS = (1000, 4000)  # between them clients wait; not all of them come back at once when a service restarts
OPENING: Fields = [
    (b"content-type", EVENT_STREAM.content_type.encode()),
    (b"cache-control", b"no-cache, no-store"),
    (b"x-accel-buffering", b"no"),
    # The stream's end is the connection's: the service ends without waiting for an idle one.
    (b"connection", b"close"),
]


@dataclass(frozen=True)
class FollowQuery:
    """What a follower knows already, by its address."""

    since: int | None = None
    epoch: str | None = None


class Follow:
    """A stream of events, one for each revision that the follower was not told of."""

    name = "follow"
    path = "/follow"
    linked = True
    media_types: tuple[MediaType, ...] = (EVENT_STREAM,)

    def parse(self, view: View, target: Target) -> Question:
        """The question of a stream."""
        readers: dict[str, Reader] = {"since": read_since, "epoch": read_epoch}
        query = FollowQuery(**read_draft(target.query_string, readers).facts)
        return Question(query, repr(query).encode(), epoch=query.epoch, seen=query.since or 0)

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return follow_operation(dataset)

    async def deliver(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Sends the stream until its reader hangs up, or has to go. Problems are raised before anything has left."""
        since, pin = await find_start(asked)
        dataset = asked.view.dataset
        lifecycle = asked.resources.headers.lifecycle[dataset.product, dataset.major]
        fields = [*OPENING, *revision_headers(pin.epoch, pin.revision), VARY, *lifecycle]
        if asked.scope["method"] == "HEAD":
            await send_answer(asked, send, 200, fields)
            return
        followers: Followers = asked.scope["app"].state.followers
        follower = Follower(asked.context.settings, followers.heads, find_caller(asked), asked.view, since)
        with followers.admit(follower):
            await send_stream(follower, asked.scope, fields, receive, send)


async def send_stream(follower: Follower, scope: Scope, fields: Fields, receive: Receive, send: Send) -> None:
    """Sends the stream; a reader that does not take its end is cut off."""
    line: Line | None = scope.get(LINE)
    if line is not None:
        line.hold_open(lambda: follower.end("service_stopped"))
    gone = asyncio.ensure_future(wait_until_gone(receive))
    gone.add_done_callback(lambda _: follower.leave())
    try:
        opening = {"type": "http.response.start", "status": 200, "headers": fields}
        await follower.run(send, opening, write_beginning(random.randint(*RETRY_MS)))  # noqa: S311 - no secret
    except TimeoutError:
        if line is None:
            raise
        line.cut()
        await gone
    finally:
        gone.cancel()


async def find_start(asked: Asked) -> tuple[int, Pin]:
    """The revision that the follower knows of, 0 for none, and what is current.

    A client that connects again sends the header along with its first address, so the header counts.
    """
    since, pin, name = asked.question.query.since, asked.pin, "since"
    if text := asked.headers.get(LAST_EVENT_ID.lower()):
        draft, name = Draft(), LAST_EVENT_ID
        read_since(name, text, draft)
        since = draft.facts["since"]
        question = replace(asked.question, seen=since)
        pin = await asked.resources.reader.pin(asked.view, question, asked.least)
    if since is None:
        return 0, pin
    head = pin.heads[0]
    if since > head.revision:
        raise parameter_problem("invalid_value", name, f"the newest revision is {head.revision}")
    check_kept(since, head.oldest_revision)
    return since, pin


def find_caller(asked: Asked) -> Caller:
    """Whose stream it is."""
    principal = asked.scope[PRINCIPAL]
    name = caller_name(asked.scope, asked.context.callers.trusted, principal)
    return Caller(name, principal, read_credential(asked.headers) if principal.is_token else None)
