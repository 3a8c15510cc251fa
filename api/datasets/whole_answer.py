"""Answers that are in memory as a whole: compared with the caller's copy, cached, and sent in one piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from email.utils import formatdate
from functools import lru_cache

from starlette.types import Receive, Send

from api.database.answer_cache import Finished
from api.datasets.kind import Asked, send_answer
from api.datasets.reader import RecordReader
from api.http.conditional import ANYTHING, is_unmodified, matches
from api.http.header_fields import Fields
from api.http.negotiation import COMPRESSED_FROM_BYTES, MediaType, encode_body
from api.observability import metrics
from api.query.pagination import LINK_LIMIT_BYTES
from api.query.question import Answer, Pin, Question, Target
from api.query.view import View
from catalog.model.dataset import Dataset
from runtime.errors import DatabaseUnavailableError
from runtime.json_types import JsonObject

KEPT_FIELDS = frozenset({b"etag", b"decant-epoch", b"decant-revision", b"last-modified"})  # of a 304


class WholeAnswer(ABC):
    """A kind of question whose answer is made in memory before it is sent."""

    name: str
    path: str
    linked: bool
    media_types: tuple[MediaType, ...]

    @abstractmethod
    def parse(self, view: View, target: Target) -> Question:
        """The question that an address asks; Problem for what is wrong with it. Pure."""

    @abstractmethod
    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its OpenAPI operation on a dataset. Pure."""

    @abstractmethod
    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The answer, from the revisions of the pin."""

    async def deliver(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Sends the answer, or says that the caller has it."""
        status, fields, body = await self.respond(asked)
        await send_answer(asked, send, status, fields, body)

    async def respond(self, asked: Asked) -> tuple[int, Fields, bytes]:
        """Status, headers and body."""
        pin, cache, known = asked.pin, asked.resources.cache, asked.if_none_match
        tag = asked.tag(pin.revisions)
        # Whether there is anything at all, which `*` asks for, only the answer says.
        anything = known is not None and known.strip() == ANYTHING
        if known is not None and not anything and matches(known, tag):
            asked.timings.record("cache")
            return 304, [(b"etag", tag.encode()), *revision_headers(pin.epoch, pin.revision), *asked.common], b""
        finished = cache.get(tag)
        metrics.count_cache(finished is not None)
        asked.timings.record("cache")
        if finished is None:
            finished = await cache.make(tag, lambda: self.finish(asked, tag))
            asked.timings.record("database")
            if not pin.fixed and finished.revision < asked.least:
                # One address may lead to several databases, of which one lags.
                raise DatabaseUnavailableError(
                    "The database that serves reads is behind a revision that was served before."
                )
        if anything or is_unmodified(asked.headers, finished.headers):
            kept = [pair for pair in finished.headers if pair[0] in KEPT_FIELDS]
            return 304, [*kept, *asked.common], b""
        return 200, [*finished.headers, *asked.common], finished.body

    async def finish(self, asked: Asked, tag: str) -> Finished:
        """The answer, ready to leave; of a newer revision than the pin's where that has come meanwhile."""
        pin = asked.pin
        answer = await self.answer(asked.resources.reader, asked.view, asked.question, pin, asked.media_type)
        # Most often what was asked for; a newer revision has a tag of its own.
        if answer.revisions != pin.revisions:
            tag = asked.tag(answer.revisions)
        body = answer.body
        fields = answer_headers(answer, pin.epoch, asked.media_type, tag)
        if asked.coding != "identity" and len(body) >= COMPRESSED_FROM_BYTES:
            body = encode_body(body, asked.coding)
            fields.append((b"content-encoding", asked.coding.encode()))
        fields.append((b"content-length", b"%d" % len(body)))
        return Finished(tag, tuple(fields), body, answer.revisions[0])


def answer_headers(answer: Answer, epoch: str, media_type: MediaType, tag: str) -> Fields:
    """The headers of an answer that are the same for everybody who gets it."""
    fields = [
        (b"content-type", media_type.content_type.encode()),
        (b"etag", tag.encode()),
        *revision_headers(epoch, answer.revisions[0]),
        *answer.headers,
    ]
    if answer.modified:
        fields.append((b"last-modified", http_date(answer.modified)))
    if answer.next_url and len(answer.next_url) <= LINK_LIMIT_BYTES:
        fields.append((b"link", f'<{answer.next_url}>; rel="next"'.encode()))
    return fields


def revision_headers(epoch: str, revision: int) -> Fields:
    """The headers that say which revision was read, and in which epoch it counts."""
    return [(b"decant-revision", b"%d" % revision), (b"decant-epoch", epoch.encode())]


@lru_cache(maxsize=1000)
def http_date(timestamp: int) -> bytes:
    """A moment, in seconds since 1970, as headers have it."""
    return formatdate(timestamp, usegmt=True).encode()
