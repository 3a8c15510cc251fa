"""Publishing: staging -> current + history + revision, in one transaction. Its commit is the publication."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from catalog.storage.dataset_tables import LINE, CatalogTables, DatasetTables
from catalog.storage.ledger_tables import REVISIONS_CHANNEL, DatasetHead, Load, QualityResult, Revision
from catalog.storage.newest import note_newest
from ingest.cleaning.newest import leave_outdated
from ingest.cleaning.published_snapshot import Standing, read_parents
from ingest.errors import LoadSupersededError
from ingest.ledger.loads import lock_head, move_input
from ingest.publishing.candidate import Candidate, GateClosed, Outcome, Publication, RawPicker
from ingest.publishing.changes import apply_changes, delete_missing
from ingest.publishing.quality_checks import judge_counts, measure_gates
from ingest.publishing.staging import copy_target, restore_indexes
from ingest.quarantine.rejected_records import (
    REJECTS,
    count_reasons,
    fill_raw,
    gather_rejects,
    keep_rejects,
    lines_without_raw,
    reject_orphans,
    reject_repeats,
    save_rejects,
)
from ingest.quarantine.replay_batch import takes_whole
from ingest.quarantine.replay_merge import (
    gather_poured,
    give_origins,
    leave_newer,
    settle_poured,
    supersede_confirmed,
    supersede_written,
)
from runtime.copy import copy_file

VACUUM_SHARE = 0.10  # of the records changed: then the planner and the visibility map need a look


def publish(
    engine: sa.Engine, catalog: CatalogTables, tables: DatasetTables, candidate: Candidate, pick_raw: RawPicker
) -> Publication:
    """Publishes the candidate, or finds that nothing changed, or withholds it; the ledger says which.

    LoadSupersededError where a later load was given the dataset meanwhile.
    """
    with engine.connect() as connection:
        try:
            with connection.begin():
                return publish_in_transaction(connection, catalog, tables, candidate, pick_raw)
        except GateClosed as closed:
            with connection.begin():
                hold_head(connection, candidate)
                gather_rejects(connection, [closed.rejects_file])
                keep_what_fell_out(connection, candidate, pick_raw, withheld=True)
                finish_load(connection, candidate, closed.outcome)
                standing = note_standing(connection, candidate, {})
            return Publication(closed.outcome, standing, ())


def publish_in_transaction(
    connection: sa.Connection,
    catalog: CatalogTables,
    tables: DatasetTables,
    candidate: Candidate,
    pick_raw: RawPicker,
) -> Publication:
    """Every step of a publication; raises GateClosed to roll back."""
    head = hold_head(connection, candidate)
    revision = head.revision + 1
    staged = tables.current if candidate.direct else tables.staging(candidate.load_id, candidate.fencing_token)
    if candidate.direct:
        copy_file(connection, copy_target(connection, staged), candidate.accepted_file)
    gather_rejects(connection, candidate.reject_files)
    outdated = []
    poured_late = 0
    if candidate.replay is not None:
        gather_poured(connection, candidate.dataset_id, candidate.replay, candidate.parts)
        poured_late = leave_newer(connection, tables, staged, candidate.dataset_id, candidate.replay)
    else:
        outdated = leave_outdated(connection, tables, staged)
    late = judge_relations(connection, catalog, tables, staged, replay=candidate.replay is not None)
    parents = read_parents(connection, tables.dataset)
    if candidate.direct or candidate.refused:
        restore_indexes(connection, tables)
    rejected = count(connection, sa.select(sa.func.count()).select_from(REJECTS))
    # What something newer speaks for is counted with the duplicates: another record has its key.
    duplicates = candidate.duplicates + poured_late + len(outdated)
    accepted = candidate.raw - duplicates - rejected
    if candidate.direct:
        inserted, updated, deleted = accepted, 0, 0
    else:
        inserted, updated = apply_changes(connection, tables, staged, revision)
        snapshot = takes_whole(tables.dataset) and candidate.replay is None
        deleted = delete_missing(connection, tables, staged, revision, candidate.missing_file) if snapshot else 0
    measurements = judge_counts(
        tables.dataset,
        raw=candidate.raw,
        rejected=rejected,
        before=head.record_count,
        deleted=deleted,
        may_be_empty=candidate.may_be_empty,
        known_bad=pours_rejects(candidate),
    )
    measurements += measure_gates(connection, catalog, tables)
    withheld = not candidate.anyway and any(measurement.withholds for measurement in measurements)
    changed = inserted + updated + deleted > 0
    outcome = Outcome(
        status="withheld" if withheld else "published" if changed else "unchanged",
        revision=revision if changed and not withheld else head.revision,
        raw=candidate.raw,
        accepted=accepted,
        rejected=rejected,
        duplicates=duplicates,
        outdated=len(outdated),
        inserted=inserted,
        updated=updated,
        deleted=deleted,
        unchanged=accepted - inserted - updated,
        record_count=head.record_count + (0 if withheld else inserted - deleted),
        reasons=count_reasons(connection, poured=pours_rejects(candidate)) if rejected else (),
        measurements=tuple(measurements),
    )
    if withheld:
        # The rejected records would go with the rollback: they wait in a file.
        rejects_file = candidate.accepted_file.with_name("withheld.csv")
        save_rejects(connection, rejects_file)
        raise GateClosed(outcome, rejects_file)
    keep_what_fell_out(connection, candidate, pick_raw)
    if candidate.replay is not None:
        settle_poured(connection, staged, candidate.load_id)
    if candidate.confirmed is not None:
        supersede_confirmed(
            connection, candidate.dataset_id, candidate.load_id, tables, candidate.confirmed, outdated
        )
    if changed:
        if candidate.replay is not None:
            give_origins(connection, tables, candidate.load_id, revision)
            supersede_written(connection, candidate.dataset_id, candidate.load_id, tables, revision)
        move_head(connection, candidate, outcome, first=head.oldest_revision == 0)
        note_newest(connection, tables)
    finish_load(connection, candidate, outcome)
    return Publication(outcome, note_standing(connection, candidate, parents), (*late, *outdated, *candidate.refused))


def pours_rejects(candidate: Candidate) -> bool:
    """Whether the batch is made of rejected records, and not the whole one of a load."""
    return candidate.replay is not None and candidate.replay.load_id is None


def keep_what_fell_out(
    connection: sa.Connection, candidate: Candidate, pick_raw: RawPicker, *, withheld: bool = False
) -> None:
    """Keeps the load's rejected records; those that were poured again lie in quarantine already."""
    origin = candidate.load_id
    if candidate.replay is not None:
        if candidate.replay.load_id is None:
            return
        origin = candidate.replay.load_id
    fill_raw(connection, pick_raw(lines_without_raw(connection)))
    keep_rejects(connection, candidate.dataset_id, origin, candidate.parts, withheld=withheld)


def note_standing(connection: sa.Connection, candidate: Candidate, parents: dict[str, int]) -> Standing:
    """The dataset's head as this transaction leaves it."""
    head = connection.execute(sa.select(DatasetHead.__table__).where(DatasetHead.id == candidate.dataset_id)).one()
    return Standing(candidate.dataset_id, head.revision, head.published_at, head.record_count, parents)


def hold_head(connection: sa.Connection, candidate: Candidate) -> Any:
    """The dataset's head, locked; LoadSupersededError where a later load has, or had, the dataset."""
    head = lock_head(connection, candidate.dataset_id, candidate.fencing_token)
    if candidate.direct and head.revision + 1 != candidate.expected_revision:
        raise LoadSupersededError("The dataset was published by another load while this one was cleaned.")
    return head


def judge_relations(
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
        # The parent's head, held: what was judged stays true until this publication is committed.
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


def move_head(connection: sa.Connection, candidate: Candidate, outcome: Outcome, *, first: bool) -> None:
    """Makes the new revision the current one, and says so."""
    values: dict[str, Any] = {
        "revision": outcome.revision,
        "record_count": outcome.record_count,
        "published_at": sa.func.now(),
    }
    if first:
        values["oldest_revision"] = outcome.revision
    connection.execute(sa.update(DatasetHead).where(DatasetHead.id == candidate.dataset_id).values(values))
    connection.execute(
        sa.insert(Revision).values(
            dataset_id=candidate.dataset_id,
            revision=outcome.revision,
            load_id=candidate.load_id,
            record_count=outcome.record_count,
            inserted=outcome.inserted,
            updated=outcome.updated,
            deleted=outcome.deleted,
        )
    )
    connection.execute(sa.select(sa.func.pg_notify(REVISIONS_CHANNEL, f"{candidate.dataset_id}:{outcome.revision}")))


def describe_parts(candidate: Candidate) -> list[dict[str, Any]]:
    """The parts as the ledger keeps them; with the first one stands what batches have had so far."""
    parts = [asdict(part) for part in candidate.parts]
    if parts:
        parts[0] |= {kind: names for kind, names in candidate.seen.items() if names}
    return parts


def finish_load(connection: sa.Connection, candidate: Candidate, outcome: Outcome) -> None:
    """Writes into the ledger how the load ended, and every measurement."""
    connection.execute(
        sa.update(Load)
        .where(Load.id == candidate.load_id)
        .values(
            status=outcome.status,
            revision=outcome.revision if outcome.status == "published" else None,
            batch_sha256=candidate.batch_sha256,
            cleaning_sha256=candidate.cleaning_sha256,
            position=candidate.position,
            parts=describe_parts(candidate),
            raw=outcome.raw,
            accepted=outcome.accepted,
            rejected=outcome.rejected,
            duplicates=outcome.duplicates,
            inserted=outcome.inserted,
            updated=outcome.updated,
            deleted=outcome.deleted,
            unchanged=outcome.unchanged,
            lease_until=None,
            finished_at=sa.func.clock_timestamp(),
        )
    )
    if outcome.status != "withheld" and candidate.replay is None:
        move_input(connection, candidate.dataset_id, candidate.position)
    rows = [
        {
            "load_id": candidate.load_id,
            "position": position,
            "rule": m.rule,
            "dimension": m.dimension,
            "measured": m.measured,
            "bound": m.bound,
            "passed": m.passed,
            "severity": m.severity,
            "error": m.error,
            "reads": m.reads,
        }
        for position, m in enumerate(outcome.measurements)
    ]
    connection.execute(sa.delete(QualityResult).where(QualityResult.load_id == candidate.load_id))
    if rows:
        connection.execute(sa.insert(QualityResult), rows)


def count(connection: sa.Connection, query: sa.Select[Any]) -> int:
    """The one number that a query gives."""
    return int(connection.execute(query).scalar_one())
