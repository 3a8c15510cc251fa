"""How far a replicated table is behind: changes that wait, and bytes of the source's log."""

from __future__ import annotations

from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication.position import check_kept, check_position, check_slot, read_position
from ingest.inputs.replication.source import borrow_origin
from ingest.inputs.replication.table import source_of
from ingest.inputs.stream.lag import Lag, PartitionLag

# The log also grows by what the publication does not have. A load without records moves the slot past so much of it:
# each look decodes what lies behind the slot.
IDLE_BYTES = 16 << 20


def measure_changes(context: InputContext) -> Lag:
    """The changes that wait now; StreamGapError where reading cannot go on, SourceError where nobody answers.

    Where the log has not grown, this is one query. Else the slot is peeked, and what waits is counted there, up to
    about a thousand changes. Before the first load, it is the whole table, about.
    """
    source = source_of(context.source)
    kept = read_position(context.state, source)
    with borrow_origin(context) as origin:
        found = origin.find_slot()
        check_slot(source, found)
        if kept is None:
            check_kept(source, found)
            waiting = PartitionLag(0, found.confirmed, found.end, max(found.end - found.confirmed, 0))
            return Lag(source.database.address, (waiting,), False, origin.find_table().rows, is_due=True)
        check_position(kept, found)
        if found.confirmed < kept.lsn:
            # What is published need not be kept any more, though no load comes that would say so.
            origin.advance(kept.lsn)
            found = origin.find_slot()
        check_kept(source, found)
        behind = max(found.end - kept.lsn, 0)
        counted = origin.count_changes(found.end) if behind else 0
    waiting = PartitionLag(0, kept.lsn, max(found.end, kept.lsn), behind)
    return Lag(source.database.address, (waiting,), False, counted, is_due=behind >= IDLE_BYTES)
