"""One kind of question about a dataset."""

from __future__ import annotations

from typing import Protocol

from api.datasets.reader import RecordReader
from api.http.negotiation import Form
from api.query.question import Answer, Pin, Question, Target
from api.query.view import View


class Kind(Protocol):
    """One kind of question, such as a page of records, an aggregate, or changes."""

    name: str
    path: str  # of its route, below the dataset's
    forms: tuple[Form, ...]  # how its answers can be written down; the first where the caller has no wish

    def parse(self, view: View, target: Target) -> Question:
        """The question that an address asks; Problem for what is wrong with it. Pure."""

    async def answer(self, reader: RecordReader, view: View, question: Question, pin: Pin, form: Form) -> Answer:
        """The answer, from the revisions of the pin."""
