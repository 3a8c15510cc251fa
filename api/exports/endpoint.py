"""Exports over HTTP: a redirect to a fixed revision, a stream, or a file in pieces."""

from __future__ import annotations

from typing import Any, cast

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.auth.permissions import find_dataset
from api.context import Context
from api.datasets.endpoint import PREFIX, VARY
from api.datasets.resources import DatasetResources
from api.exports.formats import FORMS
from api.exports.query import parse_export
from api.exports.sending import NAME, Export, send_empty
from api.http.addresses import address_of
from api.http.conditional import newest_seen
from api.http.negotiation import choose_form
from api.http.request_headers import read_fields, read_least_revision
from api.http.server_timing import KEPT, Timings
from api.query.pagination import LINK_LIMIT_BYTES
from api.query.question import Pin, Question, Target
from runtime.settings import Settings


class ExportEndpoint:
    """Answers requests for exports."""

    name = NAME  # as it is counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; problems are raised as long as nothing has left."""
        state = scope["app"].state
        context: Context = state.context
        datasets: DatasetResources = state.datasets
        headers = read_fields(scope)
        timings: Timings = scope[KEPT]
        principal = await context.identify(scope, headers)
        timings.mark("auth")
        place = scope["path_params"]
        dataset, access = find_dataset(context.catalog, principal, place["product"], place["major"], place["dataset"])
        view = context.views.of(dataset, access)
        target = Target(scope["raw_path"].decode("ascii", "replace"), scope["query_string"])
        question = parse_export(view, target)
        form = question.query.form or choose_form(headers.get("accept", ""), FORMS)
        seen = (
            newest_seen(headers.get("if-none-match", ""), datasets.reader.heads.epoch) if question.at is None else ()
        )
        timings.mark("parse")
        pin = await datasets.reader.pin(view, question, max(read_least_revision(headers), *seen[:1], 0))
        common = [VARY, *datasets.headers.of(principal, dataset, pin)]
        location = pinned_address(context.settings, target, question, pin)
        is_short = len(location) <= min(LINK_LIMIT_BYTES, context.settings.url_limit_bytes)
        if question.query.is_whole and not pin.fixed and pin.revision and is_short:
            await send_empty(send, 307, [(b"location", location.encode()), *common])
        else:
            export = Export(
                context.settings, state.exports, datasets.reader.heads, view, question, form, pin, common, timings
            )
            await export.send(scope, headers, receive, send)


def pinned_address(settings: Settings, target: Target, question: Question, pin: Pin) -> str:
    """The address of the same export at its revision."""
    query = target.query_string.decode("ascii", "replace")
    named = f"at={pin.revision}" if question.epoch else f"at={pin.revision}&epoch={pin.epoch}"
    return address_of(settings, f"{target.path}?{query}{'&' if query else ''}{named}")


ROUTE = Route(f"{PREFIX}/export", cast(Any, ExportEndpoint()), methods=["GET", "HEAD"], name=NAME)
