"""The one way of every GET about a dataset.

Authenticate, view, parse, negotiate, revisions, tag, cache, read, answer: each phase hands a value to the next. It is
a plain ASGI endpoint: FastAPI's own would solve dependencies, of which there are none, for a third of a page's cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, cast

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.auth.permissions import find_dataset
from api.context import Context
from api.database.answer_cache import Finished
from api.datasets.kind import Kind
from api.datasets.reader import RecordReader
from api.datasets.resources import DatasetResources
from api.http.addresses import address_of
from api.http.conditional import ANYTHING, is_unmodified, make_tag, matches, newest_seen
from api.http.negotiation import COMPRESSED_FROM_BYTES, Form, choose_coding, choose_form, encode_body
from api.http.request_headers import read_fields, read_least_revision
from api.http.server_timing import KEPT, Timings
from api.observability import metrics
from api.query.pagination import LINK_LIMIT_BYTES
from api.query.question import Answer, Pin, Question, Target
from api.query.record_key import read_key_part
from api.query.view import QUESTIONS_MAXIMUM, View
from runtime.errors import DatabaseUnavailableError

VARY = (b"vary", b"Authorization, X-API-Key, Accept, Accept-Encoding, Decant-Min-Revision")
REMEMBERED_QUERY_BYTES = 300
KEPT_FIELDS = frozenset({b"etag", b"decant-epoch", b"decant-revision", b"last-modified"})  # of a 304
TAGS_MAXIMUM = 20  # that a question remembers: several forms and codings of its latest revisions
PREFIX = "/data/{product}/v{major}/{dataset}"


class Endpoint:
    """Answers one kind of question."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.name  # as it is counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; problems are raised, for the handlers of the application."""
        timings: Timings = scope[KEPT]
        state = scope["app"].state
        context: Context = state.context
        resources: DatasetResources = state.datasets
        headers = read_fields(scope)
        status, fields, body = await self.respond(context, resources, scope, headers, timings)
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def respond(
        self,
        context: Context,
        resources: DatasetResources,
        scope: Scope,
        headers: Mapping[str, str],
        timings: Timings,
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body."""
        principal = await context.identify(scope, headers)
        timings.mark("auth")
        place = scope["path_params"]
        dataset, access = find_dataset(context.catalog, principal, place["product"], place["major"], place["dataset"])
        view = context.views.of(dataset, access)
        question = self.understand(context, view, scope)
        form = choose_form(headers.get("accept", ""), self.kind.forms)
        coding = choose_coding(headers.get("accept-encoding", ""))
        timings.mark("parse")
        if_none_match = headers.get("if-none-match")
        least = read_least_revision(headers)
        if if_none_match is not None:
            seen = newest_seen(if_none_match, resources.reader.heads.epoch)
            least = max(least, seen[0] if seen and question.at is None and not question.pins else 0)
        pin = await resources.reader.pin(view, question, least)
        tag = self.tag(view, question, pin.epoch, pin.revisions, form, coding)
        common = [VARY, *resources.headers.of(principal, dataset, pin)]
        # Whether there is anything at all, which `*` asks for, only the answer says.
        if if_none_match is not None and if_none_match.strip() != ANYTHING and matches(if_none_match, tag):
            timings.mark("cache")
            return 304, [(b"etag", tag.encode()), *revision_headers(pin.epoch, pin.revision), *common], b""
        finished = resources.cache.get(tag)
        metrics.count_cache(finished is not None)
        timings.mark("cache")
        if finished is None:
            finished = await resources.cache.make(
                tag, lambda: self.finish(resources.reader, view, question, pin, form, coding, tag)
            )
            timings.mark("database")
            if not pin.fixed and finished.revision < least:
                # One address may lead to several databases, of which one lags.
                raise DatabaseUnavailableError("What can be read here is older than what was seen before.")
        is_known = if_none_match is not None and if_none_match.strip() == ANYTHING
        if is_known or is_unmodified(headers, finished.headers):
            kept = [pair for pair in finished.headers if pair[0] in KEPT_FIELDS]
            return 304, [*kept, *common], b""
        return 200, [*finished.headers, *common], finished.body

    def understand(self, context: Context, view: View, scope: Scope) -> Question:
        """The question that the address asks; what was asked before need not be parsed again."""
        raw_path: bytes = scope["raw_path"]
        query_string: bytes = scope["query_string"]
        place = (self.kind.name, raw_path, query_string)
        known = view.questions.get(place)
        if known is not None:
            return cast(Question, known)
        path = address_of(context.settings, raw_path.decode("ascii", "replace"))
        key = read_key_part(raw_path) if "key" in scope["path_params"] else ""
        question = self.kind.parse(view, Target(path, query_string, key))
        if len(raw_path) + len(query_string) <= REMEMBERED_QUERY_BYTES:
            view.questions[place] = question
            if len(view.questions) > QUESTIONS_MAXIMUM:
                view.questions.popitem(last=False)
        return question

    async def finish(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, form: Form, coding: str, tag: str
    ) -> Finished:
        """The answer, ready to leave; of a newer revision than the pin's where that has come meanwhile."""
        answer = await self.kind.answer(reader, view, question, pin, form)
        # Most often what was asked for; a newer revision has a tag of its own.
        if answer.revisions != pin.revisions:
            tag = self.tag(view, question, pin.epoch, answer.revisions, form, coding)
        body = answer.body
        fields = answer_headers(answer, pin.epoch, form, tag)
        if coding != "identity" and len(body) >= COMPRESSED_FROM_BYTES:
            body = encode_body(body, coding)
            fields.append((b"content-encoding", coding.encode()))
        fields.append((b"content-length", b"%d" % len(body)))
        return Finished(tag, tuple(fields), body, answer.revisions[0])

    def tag(
        self, view: View, question: Question, epoch: str, revisions: tuple[int, ...], form: Form, coding: str
    ) -> str:
        """The entity tag: all that the bytes of an answer depend on."""
        place = (epoch, revisions, form.name, coding)
        tag = question.tags.get(place)
        if tag is None:
            facts = (view.identity, self.kind.name.encode(), question.canonical, form.name.encode(), coding.encode())
            tag = make_tag(epoch, revisions, *facts)
            if len(question.tags) >= TAGS_MAXIMUM:
                question.tags.clear()
            question.tags[place] = tag
        return tag


def answer_headers(answer: Answer, epoch: str, form: Form, tag: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that are the same for everybody who gets it."""
    fields = [
        (b"content-type", form.media_type.encode()),
        (b"etag", tag.encode()),
        *revision_headers(epoch, answer.revisions[0]),
        *answer.headers,
    ]
    if answer.modified:
        fields.append((b"last-modified", http_date(answer.modified)))
    if answer.next_url and len(answer.next_url) <= LINK_LIMIT_BYTES:
        fields.append((b"link", f'<{answer.next_url}>; rel="next"'.encode()))
    return fields


def revision_headers(epoch: str, revision: int) -> list[tuple[bytes, bytes]]:
    """The headers that say which revision was read, and in which epoch it counts."""
    return [(b"decant-revision", b"%d" % revision), (b"decant-epoch", epoch.encode())]


@lru_cache(maxsize=1000)
def http_date(moment: int) -> bytes:
    """A moment, in seconds since 1970, as headers have it."""
    return formatdate(moment, usegmt=True).encode()


def make_route(kind: Kind) -> Route:
    """The route of a kind of question, for every dataset."""
    return Route(PREFIX + kind.path, cast(Any, Endpoint(kind)), methods=["GET", "HEAD"], name=kind.name)
