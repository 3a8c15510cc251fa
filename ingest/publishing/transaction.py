"""The transaction that publishes: staging -> current + history + revision. Its commit is the publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.storage.dataset_tables import LINE, CatalogTables, DatasetTables
from catalog.storage.ledger_tables import DatasetHead
from catalog.storage.newest import note_newest
from ingest.cleaning.newest import leave_outdated
from ingest.cleaning.published_snapshot import read_parents, read_published_state
from ingest.errors import LoadSupersededError
from ingest.ledger.loads import lock_head
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Candidate, LoadWithheld, Outcome, Publication
from ingest.publishing.changes import apply_changes, delete_missing
from ingest.publishing.deletions import (
    apply_deletions,
    collect_deletions,
    comes_again,
    leave_newer_records,
    leave_outdated_deletions,
)
from ingest.publishing.ledger_entries import announce_revision, finish_load, move_head
from ingest.publishing.quality_checks import BatchCounts, check_counts, measure_gates, must_withhold
from ingest.publishing.staging import copy_target, restore_indexes
from ingest.quarantine.rejected_records import (
    REJECTS,
    collect_rejects,
    count_reasons,
    fill_raw,
    keep_rejects,
    lines_without_raw,
    reject_orphans,
    reject_repeats,
    save_rejects,
)
from ingest.quarantine.replay_batch import takes_whole
from ingest.quarantine.replay_merge import (
    collect_replayed,
    give_origins,
    leave_newer,
    settle_replayed,
)
from ingest.quarantine.superseding import supersede_corrected, supersede_written
from runtime.postgres.copy import copy_file
from runtime.postgres.sql_types import SqlRow


@dataclass(frozen=True)
class Sifted:
    """The staged records that are left, and what fell out of them inside the transaction."""

    staged: sa.Table
    deletions: sa.Table | None  # keys that records of the batch delete
    rejected: int  # of all steps
    deleted: int  # records of the current revision that records of the batch deleted
    replayed_late: int  # what a replay brings and something newer speaks for
    outdated: list[int]  # lines that a current record is newer than, by `orderBy`
    late: list[int]  # lines without their parents, or that repeat a unique value


def publish_in_transaction(connection: sa.Connection, load: RunningLoad, candidate: Candidate) -> Publication:
    """Every step of a publication; raises LoadWithheld to roll back."""
    head = lock_publishing_head(connection, candidate)
    sifted = sift(connection, load, candidate, head.revision + 1)
    parents = read_parents(connection, load.dataset)
    if candidate.direct or candidate.refused:
        restore_indexes(connection, load.tables)
    outcome = apply(connection, load, candidate, sifted, head)
    if outcome.status == "withheld":
        # The rejected records would go with the rollback: they wait in a file.
        rejects_file = load.folder / "withheld.csv"
        save_rejects(connection, rejects_file)
        raise LoadWithheld(outcome, rejects_file)
    settle_rejects(connection, load.tables, candidate, sifted)
    if outcome.status == "published":
        if candidate.replay is not None:
            give_origins(connection, load.tables, candidate.ticket.load_id, outcome.revision)
            supersede_written(connection, candidate.ticket, load.tables, outcome.revision)
        move_head(connection, candidate.ticket, outcome, oldest=head.oldest_revision or outcome.revision)
        announce_revision(connection, candidate.ticket, outcome.revision)
        note_newest(connection, load.tables)
    finish_load(connection, candidate, outcome)
    published_state = read_published_state(connection, candidate.ticket.dataset_id, parents)
    return Publication(outcome, published_state, (*sifted.late, *sifted.outdated, *candidate.refused))


def lock_publishing_head(connection: sa.Connection, candidate: Candidate) -> Any:
    """The dataset's head, locked; LoadSupersededError where a later load has, or had, the dataset."""
    ticket = candidate.ticket
    head = lock_head(connection, ticket.dataset_id, ticket.fencing_token)
    # The file that is copied into current says which revision it makes.
    if candidate.direct and head.revision != ticket.head_revision:
        raise LoadSupersededError("The dataset was published by another load while this one was cleaned.")
    return head


def sift(connection: sa.Connection, load: RunningLoad, candidate: Candidate, revision: int) -> Sifted:
    """Takes out of the staged records what something newer speaks for, and what only Postgres can reject.

    Deletions are written before relations are checked: what is deleted holds no unique value any more.
    """
    tables = load.tables
    staged = tables.current if candidate.direct else load.staging
    if candidate.direct:
        copy_file(connection, copy_target(connection, staged), candidate.clean.accepted_file)
    collect_rejects(connection, candidate.reject_files)
    outdated: list[int] = []
    replayed_late = 0
    deletions = None
    if candidate.clean.deletions_file is not None:
        deletions = collect_deletions(connection, tables, candidate.clean.deletions_file)
    if candidate.replay is not None:
        collect_replayed(connection, candidate.ticket.dataset_id, candidate.replay, candidate.parsed.parts)
        replayed_late = leave_newer(connection, tables, staged, candidate.ticket.dataset_id, candidate.replay)
        if deletions is not None:
            replayed_late += len(leave_newer_records(connection, tables, deletions, candidate.replay))
    elif deletions is None:
        outdated = leave_outdated(connection, tables, staged)
    else:
        outdated = leave_outdated(connection, tables, staged, comes_again(tables, deletions, staged))
        outdated += leave_outdated_deletions(connection, tables, deletions)
    deleted = 0 if deletions is None else apply_deletions(connection, tables, deletions, revision)
    late = check_relations(connection, load.catalog, tables, staged, replay=candidate.replay is not None)
    rejected = connection.execute(sa.select(sa.func.count()).select_from(REJECTS)).scalar_one()
    return Sifted(staged, deletions, rejected, deleted, replayed_late, outdated, late)


def apply(
    connection: sa.Connection, load: RunningLoad, candidate: Candidate, sifted: Sifted, head: SqlRow
) -> Outcome:
    """Writes the difference to the current revision, measures the outcome, and says how the load would end."""
    tables, revision, raw = load.tables, head.revision + 1, candidate.parsed.raw
    # What something newer speaks for is counted with the duplicates: another record has its key.
    duplicates = candidate.clean.duplicates + sifted.replayed_late + len(sifted.outdated)
    accepted = raw - duplicates - sifted.rejected
    missed = 0
    if candidate.direct:
        inserted, updated = accepted - candidate.clean.deletions, 0
    else:
        inserted, updated = apply_changes(connection, tables, sifted.staged, revision)
        snapshot = takes_whole(tables.dataset) and candidate.replay is None
        missing = candidate.clean.missing_file
        missed = delete_missing(connection, tables, sifted.staged, revision, missing) if snapshot else 0
    deleted = sifted.deleted + missed
    counts = BatchCounts(
        raw=raw,
        rejected=sifted.rejected,
        before=head.record_count,
        deleted=deleted,
        may_be_empty=candidate.batch.note.may_be_empty,
        known_bad=candidate.replays_rejects,
    )
    measurements = [*check_counts(tables.dataset, counts), *measure_gates(connection, load.catalog, tables)]
    withheld = must_withhold(measurements, anyway=candidate.anyway)
    changed = inserted + updated + deleted > 0
    return Outcome(
        status="withheld" if withheld else "published" if changed else "unchanged",
        revision=revision if changed and not withheld else head.revision,
        raw=raw,
        accepted=accepted,
        rejected=sifted.rejected,
        duplicates=duplicates,
        outdated=len(sifted.outdated),
        inserted=inserted,
        updated=updated,
        deleted=deleted,
        unchanged=accepted - inserted - updated - sifted.deleted,
        record_count=head.record_count + (0 if withheld else inserted - deleted),
        reasons=count_reasons(connection, replayed=candidate.replays_rejects) if sifted.rejected else (),
        measurements=tuple(measurements),
    )


def check_relations(
    connection: sa.Connection, catalog: CatalogTables, tables: DatasetTables, staged: sa.Table, *, replay: bool
) -> list[int]:
    """The lines of records without their parents, and of repeats of unique values, rejected and out of `staged`."""
    dataset = tables.dataset
    enforced = [key for key in dataset.foreign_keys if key.enforced]
    unique = [prop.name for prop in dataset.properties.values() if prop.unique and (prop.name,) != dataset.key]
    if not enforced and not unique:
        return []
    for key in enforced:
        parent = catalog.by_dataset[dataset.schema, key.dataset]
        # The parent's head, held: what was checked stays true until this publication is committed.
        connection.execute(
            sa.select(DatasetHead.id)
            .where(DatasetHead.product == dataset.product, DatasetHead.major == dataset.major)
            .where(DatasetHead.dataset == key.dataset)
            .with_for_update(read=True)
        )
        reject_orphans(connection, tables, staged, key, parent)
    snapshot = takes_whole(dataset) and not replay
    for name in unique:
        reject_repeats(connection, tables, staged, name, snapshot=snapshot)
    return list(
        connection.scalars(
            sa.delete(staged).where(staged.c[LINE].in_(sa.select(REJECTS.c.line))).returning(staged.c[LINE])
        )
    )


def settle_rejects(connection: sa.Connection, tables: DatasetTables, candidate: Candidate, sifted: Sifted) -> None:
    """Keeps the load's rejected records, and closes earlier ones that it speaks for."""
    write_rejects(connection, candidate)
    if candidate.replay is not None:
        settle_replayed(connection, sifted.staged, candidate.ticket.load_id, sifted.deletions)
    if candidate.corrected is not None:
        supersede_corrected(connection, candidate.ticket, tables, candidate.corrected, sifted.outdated)


def write_withheld(connection: sa.Connection, candidate: Candidate, closed: LoadWithheld) -> None:
    """Writes what is kept of a batch that a gate held back: its rejected records, and how the load ended."""
    collect_rejects(connection, [closed.rejects_file])
    write_rejects(connection, candidate, withheld=True)
    finish_load(connection, candidate, closed.outcome)


def write_rejects(connection: sa.Connection, candidate: Candidate, *, withheld: bool = False) -> None:
    """Keeps the load's rejected records; replayed ones are in quarantine already."""
    if candidate.replays_rejects:
        return
    origin = candidate.replay.load_id if candidate.replay is not None else None
    fill_raw(connection, candidate.pick_raw(lines_without_raw(connection)))
    load_id = candidate.ticket.load_id if origin is None else origin
    keep_rejects(connection, candidate.ticket.dataset_id, load_id, candidate.parsed.parts, withheld=withheld)
