"""The ledger's row of a load, from its opening to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.model.load_request import FromSource, LoadRequest, Replay, read_request
from catalog.storage.dataset_tables import STAGING_SCHEMA, read_load_id
from catalog.storage.ledger_tables import DatasetHead, InputState, Load
from ingest.errors import IngestError, LoadOverError, LoadSupersededError
from ingest.ledger.events import release_events
from ingest.ledger.failed_loads import write_failure
from ingest.ledger.landed_note import LandedNote, PartNote, Position
from ingest.ledger.lease import take_lease
from ingest.ledger.retry_policy import MAX_ATTEMPTS, end_attempt
from runtime.json_types import JsonObject
from runtime.telemetry import current_trace_id


@dataclass
class Ticket:
    """A load that is running: its row in the ledger, and what has been noted of it so far."""

    load_id: int
    dataset_id: int
    fencing_token: int
    head_revision: int
    head_records: int
    latest: tuple[str | None, str | None]  # batch and cleaning digests of the latest published batch
    state: Position  # the input's position that was published last
    request: LoadRequest
    landed: LandedNote | None  # what an earlier attempt has brought to the landing zone
    outdated: list[PartNote] = field(default_factory=list)  # parts that it brought, and will not use
    requested_by: str | None = None
    attempt: int = 1
    queued: bool = False  # whether the load was queued: nobody sits before it, and a worker may try again
    more: bool = False  # whether the input holds another batch behind this one
    step_seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    hide: Callable[[str], str] = str  # takes secrets out of what the source may have said


def open_load(
    engine: sa.Engine,
    dataset_id: int,
    kind: str,
    load_id: int | None = None,
    request: LoadRequest = FromSource(),  # noqa: B008 - frozen
    requested_by: str | None = None,
) -> Ticket:
    """A ticket with a new fencing token, for a new load, for a queued one or for one that was left unfinished.

    Without `load_id`, an unfinished load of the same kind is taken up again before a new one is made.
    LoadOverError where the load named has ended.
    """
    queued = load_id is not None
    with engine.begin() as connection:
        head, token = take_token(connection, dataset_id)
        if load_id is None and isinstance(request, FromSource):
            load_id = find_unfinished(connection, dataset_id, kind)
        if load_id is None:
            load_id = make_load(connection, dataset_id, kind, request, requested_by)
        attempt = begin_attempt(connection, dataset_id, load_id, token)
        landed, outdated = attempt.landed, []
        # A load that was killed goes on with what it brought. One that failed may have failed because of that, and so
        # may one that is killed again and again: its source may be mended meanwhile.
        suspect = attempt.failed_before or attempt.number > MAX_ATTEMPTS
        if landed and not attempt.request and (suspect or is_outdated(connection, dataset_id, load_id)):
            landed, outdated = {}, landed["parts"]
        latest = find_latest(connection, dataset_id, kind)
        state = connection.execute(
            sa.select(InputState.position).where(InputState.dataset_id == dataset_id)
        ).scalar_one_or_none()
    return Ticket(
        load_id=load_id,
        dataset_id=dataset_id,
        fencing_token=token,
        head_revision=head.revision,
        head_records=head.record_count,
        latest=latest,
        state=state or {},
        request=read_request(attempt.request),
        landed=LandedNote(**landed) if landed else None,
        outdated=outdated,
        requested_by=attempt.requested_by,
        attempt=attempt.number,
        queued=queued,
    )


def take_token(connection: sa.Connection, dataset_id: int) -> tuple[Any, int]:
    """The dataset's head as it was, locked, and a new fencing token: older ones publish nothing from now on."""
    head = connection.execute(
        sa.select(DatasetHead.__table__).where(DatasetHead.id == dataset_id).with_for_update(key_share=True)
    ).one()
    token = head.fencing_token + 1
    connection.execute(sa.update(DatasetHead).where(DatasetHead.id == dataset_id).values(fencing_token=token))
    return head, token


def make_load(
    connection: sa.Connection, dataset_id: int, kind: str, request: LoadRequest, requested_by: str | None
) -> int:
    """The id of a new row of the ledger, at no attempt yet."""
    facts = {"request": request.to_json(), "requested_by": requested_by}
    statement = sa.insert(Load).values(dataset_id=dataset_id, kind=kind, status="queued", attempt=0, **facts)
    return int(connection.execute(statement.returning(Load.id)).scalar_one())


class Attempt(NamedTuple):
    """One more attempt at a load: what the ledger knows of those before it."""

    landed: dict[str, Any]
    request: JsonObject | None
    requested_by: str | None
    number: int
    failed_before: bool


def begin_attempt(connection: sa.Connection, dataset_id: int, load_id: int, token: int) -> Attempt:
    """Has the load run under the token; LoadOverError where it has ended."""
    before = connection.execute(sa.select(Load.error_code).where(Load.id == load_id)).scalar_one_or_none()
    row = connection.execute(
        sa.update(Load)
        .where(Load.id == load_id, Load.dataset_id == dataset_id, Load.status.in_(("queued", "running")))
        .values(
            status="running",
            # A queued load that waits for no further attempt is at its first.
            attempt=sa.case((sa.and_(Load.status == "queued", Load.retry_at.is_(None)), 1), else_=Load.attempt + 1),
            started_at=sa.func.now(),
            retry_at=None,
            **take_lease(token),
            error_code=None,
            error=None,
            trace_id=current_trace_id(),
        )
        .returning(Load.landed, Load.request, Load.requested_by, Load.attempt)
    ).one_or_none()
    if row is None:
        raise LoadOverError(f"Load {load_id} has ended already.")
    return Attempt(row.landed or {}, row.request, row.requested_by, row.attempt, before is not None)


def find_latest(connection: sa.Connection, dataset_id: int, kind: str) -> tuple[str | None, str | None]:
    """The digests of the batch and of the cleaning that this kind of load published last."""
    latest = connection.execute(
        sa.select(Load.batch_sha256, Load.cleaning_sha256)
        .where(Load.dataset_id == dataset_id, Load.status == "published", Load.kind == kind)
        .order_by(Load.revision.desc())
        .limit(1)
    ).one_or_none()
    return (latest.batch_sha256, latest.cleaning_sha256) if latest else (None, None)


def lock_head(connection: sa.Connection, dataset_id: int, token: int, *, shared: bool = False) -> Any:
    """The dataset's head, locked; LoadSupersededError where `token` is no longer the last one given to a load.

    Every step by which a load changes more than its own row stands behind this: one that slept while another was
    given the dataset changes nothing when it wakes. A `shared` lock keeps new tokens from being given, and does not
    wait for a publication that only reads this dataset.
    """
    statement = sa.select(DatasetHead.__table__).where(DatasetHead.id == dataset_id)
    head = connection.execute(
        statement.with_for_update(read=True) if shared else statement.with_for_update(key_share=True)
    ).one()
    if head.fencing_token != token:
        raise LoadSupersededError()
    return head


def is_outdated(connection: sa.Connection, dataset_id: int, load_id: int) -> bool:
    """Whether a later load was published meanwhile: what this one landed before would undo it.

    Then the input is read again, as it is now.
    """
    later = sa.select(Load.id).where(
        Load.dataset_id == dataset_id, Load.id > load_id, Load.status == "published", Load.request.is_(None)
    )
    return bool(connection.execute(sa.select(later.exists())).scalar_one())


def find_unfinished(connection: sa.Connection, dataset_id: int, kind: str) -> int | None:
    """The oldest load of this kind that was left running by a worker that is gone."""
    return connection.execute(
        sa.select(Load.id)
        .where(Load.dataset_id == dataset_id, Load.kind == kind, Load.status == "running", Load.request.is_(None))
        .order_by(Load.id)
        .limit(1)
    ).scalar_one_or_none()


def note_landed(connection: sa.Connection, ticket: Ticket, note: LandedNote, batch_sha256: str) -> None:
    """Remembers what was brought: a worker that takes the load over need not read the input a second time."""
    lock_head(connection, ticket.dataset_id, ticket.fencing_token, shared=True)
    connection.execute(
        sa.update(Load)
        .where(Load.id == ticket.load_id)
        .values(source=note.source, landed=asdict(note), batch_sha256=batch_sha256)
    )


def move_input(connection: sa.Connection, dataset_id: int, position: dict[str, object] | None) -> None:
    """Moves the input on; only ever inside the transaction that ends a load well."""
    values = {"position": position, "last_success": sa.func.now()}
    statement = insert(InputState).values(dataset_id=dataset_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["dataset_id"], set_=values))


def close_load(engine: sa.Engine, ticket: Ticket, failure: IngestError | None) -> IngestError | None:
    """Writes the last facts of a load: how long each step took, what went wrong. The failure as it is noted.

    A temporary failure of a load that somebody queued puts it back into the queue, while it has attempts left. What
    was published before something failed stays published; a load that another process has taken up is left to that.
    """
    mine = (Load.id == ticket.load_id, Load.fencing_token == ticket.fencing_token)
    ticket.notes[:] = map(ticket.hide, ticket.notes)
    if failure is not None:
        failure.args = (ticket.hide(str(failure)),)
    with engine.begin() as connection:
        # No new token is given meanwhile: another process takes the load up before this, or not at all.
        token = sa.select(DatasetHead.fencing_token).where(DatasetHead.id == ticket.dataset_id)
        latest = connection.execute(token.with_for_update(read=True)).scalar_one()
        connection.execute(
            sa.update(Load).where(*mine).values(step_seconds=ticket.step_seconds, notes=ticket.notes or None)
        )
        if failure is not None:
            if latest != ticket.fencing_token:
                failure = LoadSupersededError()  # whatever else it met then: its files may have been tidied away
            again = ticket.queued and failure.transient
            values = end_attempt(failure.code, str(failure), ticket.attempt, transient=again, after=failure.after)
            write_failure(connection, ticket.load_id, values, *mine, Load.status == "running")
        release_events(connection, ticket.load_id)
    return failure


def end_unchanged(
    engine: sa.Engine, ticket: Ticket, batch_sha256: str, cleaning_sha256: str, position: dict[str, object] | None
) -> None:
    """Ends a load that brings nothing new: its batch and cleaning are those of the latest publication."""
    with engine.begin() as connection:
        lock_head(connection, ticket.dataset_id, ticket.fencing_token)
        if not isinstance(ticket.request, Replay):
            move_input(connection, ticket.dataset_id, position)
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id)
            .values(
                status="unchanged",
                batch_sha256=batch_sha256,
                cleaning_sha256=cleaning_sha256,
                lease_until=None,
                finished_at=sa.func.clock_timestamp(),
            )
        )


def find_leftovers(engine: sa.Engine, dataset_id: int) -> tuple[list[str], list[int]]:
    """What killed loads of a dataset may have left: their staging tables, and the loads that may have files."""
    # Of all loads: most often there is none, and `pg_tables` would look at every table of every dataset.
    tables = sa.table("pg_class", sa.column("relname", sa.Text), sa.column("relnamespace"))
    staged = sa.select(tables.c.relname).where(tables.c.relnamespace == sa.func.to_regnamespace(STAGING_SCHEMA))
    # A load was killed while it ran, or after its last transaction: then no other has followed it yet.
    own = sa.select(Load.id).where(Load.dataset_id == dataset_id)
    latest = own.order_by(Load.id.desc()).limit(1).subquery()
    unfinished = sa.union(own.where(Load.status == "running"), sa.select(latest.c.id))
    with engine.connect() as connection:
        names = {name: read_load_id(name) for name in connection.scalars(staged)}
        left = set(connection.scalars(own.where(Load.id.in_(names.values())))) if names else set()
        return [name for name in names if names[name] in left], [*left, *connection.scalars(unfinished)]
