"""The request pipeline that every GET of a dataset goes through.

Authenticate, view, parse, negotiate, revisions: each phase hands a value to the next, and the kind of question
delivers the answer. It is a plain ASGI endpoint: FastAPI's own would solve dependencies, of which there are none, for
a third of a page's cost.
"""

from __future__ import annotations

from typing import Any, cast

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.auth.permissions import find_dataset
from api.context import Context
from api.datasets.kind import Asked, Kind
from api.datasets.resources import DatasetResources
from api.http.addresses import address_of
from api.http.conditional import newest_seen
from api.http.negotiation import choose_coding, choose_media_type
from api.http.request_headers import read_fields, read_least_revision
from api.http.server_timing import KEPT, Timings
from api.query.question import Question, Target
from api.query.record_key import read_key_part
from api.query.view import QUESTIONS_MAXIMUM, View

VARY = (b"vary", b"Authorization, X-API-Key, Accept, Accept-Encoding, Decant-Min-Revision")
REMEMBERED_QUERY_BYTES = 300
PREFIX = "/data/{product}/v{major}/{dataset}"


class Endpoint:
    """Answers one kind of question."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.name  # as it is counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; problems are raised, for the handlers of the application."""
        await self.kind.deliver(await self.ask(scope), receive, send)

    async def ask(self, scope: Scope) -> Asked:
        """What a request asks, and of which revisions."""
        timings: Timings = scope[KEPT]
        state = scope["app"].state
        context: Context = state.context
        resources: DatasetResources = state.datasets
        headers = read_fields(scope)
        principal = await context.identify(scope, headers)
        timings.record("auth")
        path_parameters = scope["path_params"]
        dataset, access = find_dataset(
            context.catalog,
            principal,
            path_parameters["product"],
            path_parameters["major"],
            path_parameters["dataset"],
        )
        view = context.views.of(dataset, access)
        question = self.understand(context, view, scope)
        media_type = question.media_type or choose_media_type(headers.get("accept", ""), self.kind.media_types)
        coding = choose_coding(headers.get("accept-encoding", "")) if media_type.coded else "identity"
        timings.record("parse")
        least = read_least_revision(headers)
        if_none_match = headers.get("if-none-match")
        if if_none_match is not None and question.at is None and not question.pins:
            seen = newest_seen(if_none_match, resources.reader.heads.epoch)
            least = max(least, seen[0] if seen else 0)
        pin = await resources.reader.pin(view, question, least)
        common = [VARY, *resources.headers.of(principal, dataset, pin)]
        return Asked(
            self.kind,
            scope,
            headers,
            context,
            resources,
            timings,
            view,
            question,
            media_type,
            coding,
            least,
            pin,
            common,
        )

    def understand(self, context: Context, view: View, scope: Scope) -> Question:
        """The question that the address asks; what was asked before need not be parsed again."""
        raw_path: bytes = scope["raw_path"]
        query_string: bytes = scope["query_string"]
        cache_key = (self.kind.name, raw_path, query_string)
        known = view.questions.get(cache_key)
        if known is not None:
            return cast(Question, known)
        path = address_of(context.settings, raw_path.decode("ascii", "replace"))
        key = read_key_part(raw_path) if "key" in scope["path_params"] else ""
        question = self.kind.parse(view, Target(path, query_string, key))
        if len(raw_path) + len(query_string) <= REMEMBERED_QUERY_BYTES:
            view.questions[cache_key] = question
            if len(view.questions) > QUESTIONS_MAXIMUM:
                view.questions.popitem(last=False)
        return question


def make_route(kind: Kind) -> Route:
    """The route of a kind of question, for every dataset."""
    return Route(PREFIX + kind.path, cast(Any, Endpoint(kind)), methods=["GET", "HEAD"], name=kind.name)
