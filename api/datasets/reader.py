"""Executes dataset queries: resolves revisions, runs statements on read connections, creates next cursors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from api.database.connections import ReadConnections
from api.database.published_heads import Head, Heads
from api.database.statement import Statement
from api.http.problems import Problem, parameter_problem
from api.query.question import Pin, Question
from api.query.view import View
from api.sql.selection import HEAD, OLDER, Age, is_head
from api.sql.statement_text import render
from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import DatasetHead, Revision
from runtime.errors import DatabaseUnavailableError
from runtime.telemetry import TRACER

COSTLY = frozenset({"aggregate"})  # kinds of questions that read most of a table
HEAD_COLUMNS = 3  # what a statement says of each dataset: revision, oldest revision, time of publication


class Read:
    """The row of a statement: what it says of the heads, and its payload."""

    __slots__ = ("facts", "payload")

    def __init__(self, row: list[bytes | None]) -> None:
        self.facts = [int(fact) for fact in (row[0] or b"{}")[1:-1].split(b",")]
        self.payload = row[1:]

    @property
    def revisions(self) -> tuple[int, ...]:
        """The current revisions of the datasets, in the snapshot that was read."""
        return tuple(self.facts[0::HEAD_COLUMNS])

    @property
    def oldest(self) -> tuple[int, ...]:
        """The oldest revisions that could still be read."""
        return tuple(self.facts[1::HEAD_COLUMNS])

    @property
    def modified(self) -> int:
        """When the newest of what was read was published, in seconds since 1970."""
        return max(self.facts[2::HEAD_COLUMNS])


class RecordReader:
    """Runs dataset queries of all kinds on the read connections."""

    def __init__(self, read_connections: ReadConnections, heads: Heads) -> None:
        self.read_connections = read_connections
        self.heads = heads

    async def pin(self, view: View, question: Question, least: int) -> Pin:
        """The revisions that a question is answered from, never older than what it or `least` names."""
        await self.check_epoch(question.epoch)
        wanted = max(least, question.seen, question.pins[0] if question.pins else 0)
        if isinstance(question.at, int):
            wanted = max(wanted, question.at)
        head = await self.heads.at_least(view.dataset, wanted)
        heads = (head, *[await self.heads.of(other.dataset) for other in question.related_views])
        if head.revision < least:
            raise DatabaseUnavailableError(
                "The database that serves reads is behind a revision that was served before."
            )
        if question.pins:
            self.check_pins(view, question, heads)
            return Pin(question.pins, heads, self.heads.epoch, fixed=True)
        if question.at is not None:
            revisions = await self.revisions_at(view, question, heads)
            return Pin(revisions, heads, self.heads.epoch, fixed=True, by_time=not isinstance(question.at, int))
        return Pin(tuple(head.revision for head in heads), heads, self.heads.epoch, fixed=False)

    async def check_epoch(self, epoch: str | None) -> None:
        """Nothing comes back where the revisions that a caller names are of the database's epoch."""
        if epoch is None or epoch == self.heads.epoch:
            return
        await self.heads.refresh()
        if epoch != self.heads.epoch:
            raise Problem("epoch_ended")

    def check_pins(self, view: View, question: Question, heads: Sequence[Head]) -> None:
        """Nothing comes back where a cursor's revisions can still, and already, be read."""
        for revision, head in zip(question.pins, heads, strict=True):
            if revision > head.revision:
                # We made the cursor, so the revision exists: what is read here lags behind.
                raise DatabaseUnavailableError(
                    "The database that serves reads does not have the revision of the cursor yet."
                )
            if 0 < revision < head.oldest_revision:
                raise gone(head)

    async def revisions_at(self, view: View, question: Question, heads: Sequence[Head]) -> tuple[int, ...]:
        """The revisions that `at` means; related_views are read as they stood at the same moment."""
        at = question.at
        if isinstance(at, int):
            if at > heads[0].revision:
                raise parameter_problem("invalid_value", "at", f"the newest revision is {heads[0].revision}")
            if at < heads[0].oldest_revision:
                raise gone(heads[0])
            if not question.related_views:
                return (at,)
        datasets = [view.dataset, *(other.dataset for other in question.related_views)]
        statement = view.statement(
            ("revisions at", type(at), question.related_views), lambda: compile_revisions_at(datasets, type(at))
        )
        row = await self.read_connections.fetch(statement, {"at": at})
        found = [int(value) if value is not None else 0 for value in row or []]
        if not found or not found[0]:
            raise Problem("revision_gone", "The dataset had no publication at that time.")
        if found[0] < heads[0].oldest_revision:
            raise gone(heads[0])
        return tuple(found)

    async def read_pinned(
        self, view: View, kind: str, statement: Callable[[Age], Statement], values: dict[str, Any], pin: Pin
    ) -> Read:
        """What `statement(age)` reads at the pin.

        The younger the pinned revisions are, the less it costs to ask for them; the answer itself says whether they
        still were so young.
        """
        if not pin.fixed:
            return await self.read(view, kind, statement(HEAD), values)
        age = age_of(pin, [head.revision for head in pin.heads])
        read = await self.read(view, kind, statement(age), values | pinned_values(pin))
        if age_of(pin, read.revisions).behind > age.behind:
            read = await self.read(view, kind, statement(OLDER), values | pinned_values(pin))
        self.check_read(read, pin)
        return read

    async def read(self, view: View, kind: str, statement: Statement, values: Mapping[str, Any]) -> Read:
        """The row of a statement, traced where the request is."""
        if not trace.get_current_span().is_recording():
            row = await self.read_connections.fetch(statement, values, costly=kind in COSTLY)
        else:
            name = f"SELECT {view.dataset.schema}.{view.dataset.table}"
            facts = {
                "db.system.name": "postgresql",
                "db.query.summary": f"{name} ({kind})",
                "db.query.text": statement.text.decode(),
                "db.collection.name": f"{view.dataset.schema}.{view.dataset.table}",
            }
            with TRACER.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=facts):
                row = await self.read_connections.fetch(statement, values, costly=kind in COSTLY)
        if row is None:
            raise DatabaseUnavailableError("The dataset has no table yet: run `decant migrate`.")
        return Read(row)

    def check_read(self, read: Read, pin: Pin) -> None:
        """Nothing comes back where the pinned revisions were there, and still there, when they were read."""
        for revision, head, oldest in zip(pin.revisions, read.revisions, read.oldest, strict=True):
            if revision > head:
                raise DatabaseUnavailableError(
                    "The database that serves reads is behind a revision that was served before."
                )
            if 0 < revision < oldest:
                raise Problem("revision_gone", f"The oldest revision that can be read is {oldest}.")


def age_of(pin: Pin, heads: Sequence[int]) -> Age:
    """How old the pinned revisions are beside these heads."""
    behind = max(head - revision for head, revision in zip(heads, pin.revisions, strict=True))
    if behind > 1:
        return OLDER
    return Age(1, pin.revisions) if behind == 1 else HEAD


def pinned_values(pin: Pin) -> dict[str, Any]:
    """The pinned revisions as the parameters revision_0, revision_1, …"""
    return {f"revision_{index}": revision for index, revision in enumerate(pin.revisions)}


def compile_revisions_at(datasets: Sequence[Dataset], kind: type) -> Statement:
    """The statement of the revisions that stood at a moment, or when a revision of the first was published."""
    revisions = Revision.__table__
    timestamp: Any = sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True))
    if kind is int:
        head, first = DatasetHead.__table__.alias("_first_head"), revisions.alias("_first")
        timestamp = (
            sa.select(first.c.published_at)
            .join_from(first, head, first.c.dataset_id == head.c.id)
            .where(*is_head(head.c, datasets[0]), first.c.revision == sa.bindparam("at", type_=sa.BigInteger))
            .scalar_subquery()
        )
    columns = []
    for index, dataset in enumerate(datasets):
        head, each = DatasetHead.__table__.alias(f"_head_{index}"), revisions.alias(f"_revision_{index}")
        columns.append(
            sa.select(sa.func.max(each.c.revision))
            .join_from(each, head, each.c.dataset_id == head.c.id)
            .where(*is_head(head.c, dataset), each.c.published_at <= timestamp)
            .scalar_subquery()
        )
    return render(sa.select(*columns))


def gone(head: Head) -> Problem:
    """History no longer reaches so far."""
    return Problem("revision_gone", f"The oldest revision that can be read is {head.oldest_revision}.")
