"""Publishing a cleaned batch: staged, put into the one transaction that makes a revision, and what follows that."""

from __future__ import annotations

import psycopg
import sqlalchemy as sa

from catalog.model.load_request import FromSource
from ingest.cleaning.published_snapshot import read_published_state
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Candidate, LoadWithheld, Outcome, Publication
from ingest.publishing.refused_records import is_refusal, leave_refused
from ingest.publishing.snapshot_cache import SnapshotCache
from ingest.publishing.staging import park_indexes, stage, vacuum
from ingest.publishing.transaction import lock_publishing_head, publish_in_transaction, write_withheld

VACUUM_SHARE = 0.10  # of the records changed: then the planner and the visibility map need a look


def publish(load: RunningLoad, candidate: Candidate) -> Outcome:
    """How the load ended: published, or unchanged, or withheld; the ledger says so, too.

    LoadSupersededError where a later load was given the dataset meanwhile.
    """
    snapshot_cache = SnapshotCache(load.settings, load.dataset, candidate.clean, load.folder)
    wanted = isinstance(load.ticket.request, FromSource) and not candidate.clean.is_unchanged()
    with snapshot_cache.draft(wanted=wanted):
        publication = publish_accepted(load, candidate)
        vacuum_changed(load, publication.outcome)
    if outdated := publication.outcome.outdated:
        load.ticket.notes.append(
            f"{outdated:,} of the duplicates are older than the current records of their keys, by orderBy"
        )
    with load.chore("storing the records for the next load"):
        snapshot_cache.store(publication)
    return publication.outcome


def publish_accepted(load: RunningLoad, candidate: Candidate) -> Publication:
    """Publishes the records that Postgres takes; those that it refuses are rejected one by one."""
    try:
        return stage_and_publish(load, candidate)
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        if not is_refusal(error):
            raise
        with load.step("stage"):
            accepted = leave_refused(load, candidate)
        if accepted is None:
            raise
        return stage_and_publish(load, accepted)


def stage_and_publish(load: RunningLoad, candidate: Candidate) -> Publication:
    """Stages the records, where there is something to compare with and that is not done, and publishes them."""
    if not candidate.direct and not candidate.refused:
        with load.step("stage"):
            stage(load, candidate.clean.accepted_file)
    with load.step("publish"):
        if candidate.direct:
            park_indexes(load.engine, load.tables)
        return publish_or_withhold(load, candidate)


def publish_or_withhold(load: RunningLoad, candidate: Candidate) -> Publication:
    """One transaction that publishes; where a gate closes it, another that keeps what was found."""
    with load.engine.connect() as connection:
        try:
            with connection.begin():
                return publish_in_transaction(connection, load, candidate)
        except LoadWithheld as closed:
            with connection.begin():
                lock_publishing_head(connection, candidate)
                write_withheld(connection, candidate, closed)
                published_state = read_published_state(connection, candidate.ticket.dataset_id, {})
            return Publication(closed.outcome, published_state, ())


def vacuum_changed(load: RunningLoad, outcome: Outcome) -> None:
    """Vacuums the tables after a publication that changed much of them."""
    changed = outcome.inserted + outcome.updated + outcome.deleted
    if outcome.status == "published" and changed > VACUUM_SHARE * outcome.record_count:
        with load.step("vacuum"), load.chore("vacuuming the tables"):
            vacuum(load.engine, load.tables)
