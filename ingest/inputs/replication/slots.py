"""Makes and drops the slot of a replicated table: by hand only, and on record in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import CatalogTables
from catalog.storage.ledger_tables import InputState, Load
from ingest.errors import SourceError
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication.changes import write_lsn
from ingest.inputs.replication.position import ANEW
from ingest.inputs.replication.source import ReplicationOrigin, open_origin
from ingest.inputs.replication.table import check_table
from ingest.ledger.audit import record_audit
from ingest.ledger.lease import lock_dataset
from runtime.settings.settings import Settings


@dataclass(frozen=True)
class SlotChange:
    """What was made, or dropped."""

    dataset: str
    slot: str
    publication: str
    made: tuple[str, ...]  # "publication" and "slot", or what of them did not exist
    lsn: str | None = None  # where the slot begins


def create_slot(
    settings: Settings, tables: CatalogTables, engine: sa.Engine, dataset: Dataset, by: str
) -> SlotChange:
    """Makes what does not exist of publication and slot, and has the next load read the whole table.

    DatasetBusyError where a load runs; SourceError where the source refuses, or the dataset cannot follow its table.
    """
    with hold(settings, tables, engine, dataset) as (dataset_id, origin):
        source, made = origin.source, []
        found = origin.find_slot()
        if found.exists and (not found.is_own or found.status == "lost"):
            raise SourceError(f"The slot {source.slot} of {source.database.server} cannot be read. {ANEW}")
        if origin.make_publication():
            made.append("publication")
        check_table(dataset, origin.find_table())
        if not found.exists:
            origin.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", source.slot)
            made.append("slot")
        begins = write_lsn(origin.find_slot().confirmed)
        change = SlotChange(dataset.address, source.slot, source.publication, tuple(made), begins)
        with engine.begin() as connection:
            statement = insert(InputState).values(dataset_id=dataset_id, position={})
            connection.execute(statement.on_conflict_do_update(index_elements=["dataset_id"], set_={"position": {}}))
            note(connection, by, "replication create", dataset, change)
    return change


def drop_slot(settings: Settings, tables: CatalogTables, engine: sa.Engine, dataset: Dataset, by: str) -> SlotChange:
    """Drops the slot; publication and dataset stay. SourceError where there is none, or somebody reads it."""
    with hold(settings, tables, engine, dataset) as (_, origin):
        source = origin.source
        found = origin.find_slot()
        if not found.exists:
            raise SourceError(f"The slot {source.slot} of {source.database.server} does not exist.")
        if not found.is_own:
            raise SourceError(
                f"The slot {source.slot} of {source.database.server} belongs to another database, or to another"
                " plugin than pgoutput."
            )
        # On record first: a slot that is dropped and on no record would have been dropped by nobody.
        change = SlotChange(dataset.address, source.slot, source.publication, ("slot",))
        with engine.begin() as connection:
            note(connection, by, "replication drop", dataset, change)
            origin.run("SELECT pg_drop_replication_slot(%s)", source.slot)
    return change


@contextmanager
def hold(
    settings: Settings, tables: CatalogTables, engine: sa.Engine, dataset: Dataset
) -> Iterator[tuple[int, ReplicationOrigin]]:
    """The dataset's number and its source, held against loads; SourceError where one has begun to read it."""
    if dataset.input is None or dataset.input.kind != "replication":
        raise SourceError(f"{dataset.address} is not fed by logical replication.")
    with lock_dataset(engine, dataset) as dataset_id:
        with engine.connect() as connection:
            unfinished = connection.execute(
                sa.select(Load.id).where(
                    Load.dataset_id == dataset_id, Load.status.in_(("queued", "running")), Load.landed.is_not(None)
                )
            ).scalars().first()  # fmt: skip
        if unfinished is not None:
            raise SourceError(f"Load {unfinished} has read changes and is unfinished: run `decant ingest` first.")
        with open_origin(InputContext(dataset, settings, tables, engine, 0)) as origin:
            yield dataset_id, origin


def note(connection: sa.Connection, by: str, operation: str, dataset: Dataset, change: SlotChange) -> None:
    """Puts the change on record."""
    facts = {"slot": change.slot, "publication": change.publication, "made": list(change.made), "lsn": change.lsn}
    record_audit(connection, by, operation, dataset, facts=facts)
