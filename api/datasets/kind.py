"""One kind of question about a dataset, and what the phases of a request make of one before it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Receive, Scope, Send

from api.context import Context
from api.datasets.resources import DatasetResources
from api.http.conditional import make_tag
from api.http.header_fields import Fields
from api.http.negotiation import MediaType
from api.http.server_timing import Timings
from api.query.question import Pin, Question, Target
from api.query.view import View
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject

TAGS_MAXIMUM = 20  # that a question remembers: several forms and codings of its latest revisions


@dataclass(slots=True)  # not frozen: each request makes one, and a frozen one takes three times as long to make
class Asked:
    """A question with all that its answer depends on."""

    kind: Kind
    scope: Scope
    headers: Mapping[str, str]
    context: Context
    resources: DatasetResources
    timings: Timings
    view: View
    question: Question
    media_type: MediaType
    coding: str
    least: int  # the newest revision that the caller has seen
    pin: Pin
    common: Fields  # headers that do not come from the answer

    @property
    def if_none_match(self) -> str | None:
        """The tags of the answers that the caller has."""
        return self.headers.get("if-none-match")

    def tag(self, revisions: tuple[int, ...]) -> str:
        """The entity tag of the answer from these revisions: all that its bytes depend on."""
        question, media_type, coding = self.question, self.media_type.name, self.coding
        index = (self.pin.epoch, revisions, media_type, coding)
        tag = question.tags.get(index)
        if tag is None:
            facts = (
                self.view.identity,
                self.kind.name.encode(),
                question.canonical,
                media_type.encode(),
                coding.encode(),
            )
            tag = make_tag(self.pin.epoch, revisions, *facts)
            if len(question.tags) >= TAGS_MAXIMUM:
                question.tags.clear()
            question.tags[index] = tag
        return tag


class Kind(Protocol):
    """One kind of question, such as a page of records, an aggregate, changes, or an export."""

    name: str  # as it is counted, and part of entity tags
    path: str  # of its route, below the dataset's
    linked: bool  # whether a dataset's own page leads there: it needs no more than the dataset

    @property
    def media_types(self) -> tuple[MediaType, ...]:
        """How its answers can be written down, as a tuple; the first where the caller has no wish."""

    def parse(self, view: View, target: Target) -> Question:
        """The question that an address asks; Problem for what is wrong with it. Pure."""

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its OpenAPI operation on a dataset; `filters` are references to the dataset's. Pure."""

    async def deliver(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Sends the answer, from the revisions of the pin."""


async def send_answer(asked: Asked, send: Send, status: int, fields: Fields, body: bytes = b"") -> None:
    """Sends an answer in one piece; of its body, a HEAD request gets none."""
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if asked.scope["method"] == "HEAD" else body})
