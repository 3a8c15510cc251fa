"""The position of a replicated table: up to where of the source's log every change is published. Pure.

`{"slot": name, "system": number or null, "table": name, "lsn": "0/16B3748"}`
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.model.sources import ReplicationSource
from ingest.inputs.replication.changes import read_lsn, write_lsn
from ingest.inputs.stream.messages import StreamGapError
from ingest.ledger.landed_note import Position

ANEW = (
    "`decant replication drop` and then `decant replication create` make the slot anew, and the next load reads the"
    " whole table."
)


@dataclass(frozen=True)
class SlotState:
    """What the source says of its slot and its log now."""

    system: str | None  # what identifies the source's cluster; None where the login may not know
    end: int  # how far the log is safely written
    exists: bool
    is_own: bool  # whether it is a slot of pgoutput in this database
    status: str  # wal_status: reserved, extended, unreserved or lost
    confirmed: int  # what lies before it is given out no more
    kept_bytes: int  # of the log that the slot keeps


@dataclass(frozen=True)
class ReplicationPosition:
    """Where reading goes on."""

    slot: str
    system: str | None
    table: str
    lsn: int

    def note(self) -> Position:
        """The position as the ledger keeps it."""
        return {"slot": self.slot, "system": self.system, "table": self.table, "lsn": write_lsn(self.lsn)}


def read_position(state: Position, source: ReplicationSource) -> ReplicationPosition | None:
    """The position that the ledger keeps; None where none is kept, or of another slot or table."""
    slot, table, lsn = state.get("slot"), state.get("table"), state.get("lsn")
    if slot != source.slot or table != name_table(source) or not isinstance(lsn, str):
        return None
    return ReplicationPosition(source.slot, state.get("system"), table, read_lsn(lsn))


def name_table(source: ReplicationSource) -> str:
    """The table as the contract names it."""
    return ".".join(part for part in (source.database.schema, source.database.table) if part)


def check_slot(source: ReplicationSource, found: SlotState) -> None:
    """StreamGapError where there is no slot that can be read."""
    name = f"The slot {source.slot} of {source.database.server}"
    if not found.exists:
        raise StreamGapError(f"{name} does not exist. `decant replication create` makes it; then the table is read.")
    if not found.is_own:
        raise StreamGapError(f"{name} belongs to another database, or to another plugin than pgoutput.")
    if found.status == "lost":
        raise StreamGapError(f"{name} is lost: the source removed log that it needs. {ANEW}")


def check_kept(source: ReplicationSource, found: SlotState) -> None:
    """StreamGapError where the slot keeps more of the log than the contract lets it."""
    kept = found.kept_bytes / (1 << 30)
    if kept > source.keep_gb:
        raise StreamGapError(
            f"The slot {source.slot} of {source.database.server} keeps {kept:,.2f} GB of log, more than keepGb"
            f" {source.keep_gb:g}. A greater keepGb lets reading go on; or give it up: {ANEW}"
        )


def check_position(position: ReplicationPosition, found: SlotState) -> None:
    """StreamGapError where the slot does not hold what follows the position."""
    here = write_lsn(position.lsn)
    if position.system is not None and found.system is not None and position.system != found.system:
        raise StreamGapError(f"The source is another cluster than the one that was read up to {here}. {ANEW}")
    if position.lsn > found.end:
        raise StreamGapError(f"The source's log ends before {here}, up to where it was read: it was restored. {ANEW}")
    if found.confirmed > position.lsn:
        raise StreamGapError(
            f"The slot {position.slot} begins at {write_lsn(found.confirmed)}, behind {here}, up to where it was"
            f" read: it was made anew, or somebody else read it. {ANEW}"
        )
