"""Push receipts: the outcome of each record of a push, read from the ledger and the dataset's tables."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row

from api.database.connections import ReadConnections
from api.http.problems import Problem
from api.push.outcomes import LoadState, Rejection, count_outcomes, evaluate_outcome
from catalog.storage.dataset_tables import LINE, LOAD, REVISION, DatasetTables
from runtime.postgres.database import translate_error

# The read pool hands texts over as bytes: what is compared here is cast, what is answered is decoded.
FIND_RECEIPT = """
SELECT r.received_at, r.records, r.repeated, r.principal, r.dataset_id, d.oldest_revision
FROM decant.receipts AS r JOIN decant.datasets AS d ON d.id = r.dataset_id
WHERE r.id = %(receipt)s AND d.product = %(product)s AND d.major = %(major)s AND d.dataset = %(dataset)s
"""
FIND_EVENTS = """
SELECT re.position, e.source, e.event_id, e.load_id, e.line
FROM decant.receipt_events AS re JOIN decant.events AS e ON e.id = re.event
WHERE re.receipt_id = %s ORDER BY re.position
"""
# A withheld load that its owner published anyway is another load, over the same lines.
FIND_LOADS = """
SELECT taken.id AS taken, l.id, l.status, l.revision, coalesce(l.duplicates, 0) AS duplicates,
  coalesce(l.unchanged, 0) AS unchanged, coalesce(l.rejected, 0) AS rejected, l.started_at, l.finished_at,
  taken.error_code IS NOT NULL AS failed_before,
  (SELECT max(r.revision) FROM decant.revisions AS r
    WHERE r.dataset_id = l.dataset_id AND r.published_at <= l.finished_at) AS standing
FROM decant.loads AS taken
LEFT JOIN LATERAL (
  SELECT id FROM decant.loads AS a
  WHERE taken.status = 'withheld' AND a.dataset_id = taken.dataset_id AND a.id > taken.id
    AND a.status IN ('published', 'unchanged') AND a.request ->> 'publish' = taken.id::text
  ORDER BY a.id LIMIT 1
) AS anyway ON true
JOIN decant.loads AS l ON l.id = coalesce(anyway.id, taken.id)
WHERE taken.id = ANY(%s)
"""
FIND_REJECTED = """
SELECT load_id, line, reasons, state FROM decant.rejected_records WHERE load_id = ANY(%s)
"""
# A record that lies open from an earlier load is only seen again: it is known by its text.
FIND_SEEN_AGAIN = """
SELECT e.load_id, e.line, x.reasons, x.state
FROM decant.receipt_events AS re JOIN decant.events AS e ON e.id = re.event
JOIN decant.rejected_records AS x ON x.dataset_id = e.dataset_id AND x.state IN ('open', 'dismissed')
  AND x.raw_sha256 = encode(sha256(convert_to(e.payload, 'UTF8')), 'hex')
JOIN decant.loads AS l ON l.id = e.load_id AND x.first_seen <= l.finished_at AND x.last_seen >= l.started_at
WHERE re.receipt_id = %s AND e.load_id = ANY(%s)
"""


@dataclass(frozen=True)
class Described:
    """A receipt as it is answered, and behind which place the next page begins."""

    data: dict[str, object]
    next: int | None


async def describe_receipt(
    read_connections: ReadConnections,
    tables: DatasetTables,
    receipt_id: uuid.UUID,
    whose: str | None,
    *,
    after: int,
    limit: int,
) -> Described:
    """The receipt, its counts and a page of its records; `not_found` where it is not `whose` (None: anybody's)."""
    dataset = tables.dataset
    address = dataset.place | {"receipt": receipt_id}
    try:
        async with read_connections.connection() as connection, connection.transaction():
            (receipt,) = await fetch(connection, FIND_RECEIPT, address) or (None,)
            if receipt is None or (whose is not None and decode(receipt["principal"]) != whose):
                raise Problem("not_found")
            events = await evaluate_events(connection, tables, receipt_id, receipt["oldest_revision"])
    except Problem:
        raise
    except Exception as error:
        raise translate_error(error) from error
    page = [event for event in events if event["position"] > after][:limit]
    counts = count_outcomes(events)
    data = {
        "receipt": str(receipt_id),
        "received_at": receipt["received_at"].isoformat().replace("+00:00", "Z"),
        "records": receipt["records"],
        "repeated": receipt["repeated"],
        # Those that a retention has removed are in no outcome.
        "forgotten": receipt["records"] - len(events),
        "finished": not counts.keys() & {"waiting", "retrying", "withheld"},
        "outcomes": counts,
        "events": page,
    }
    more = bool(page) and page[-1]["position"] < events[-1]["position"]
    return Described(data, page[-1]["position"] if more else None)


async def evaluate_events(
    connection: AsyncConnection, tables: DatasetTables, receipt_id: uuid.UUID, oldest_revision: int
) -> list[DictRow]:
    """Every record of the receipt, in its order, with its outcome."""
    events = await fetch(connection, FIND_EVENTS, (receipt_id,))
    taken = sorted({event["load_id"] for event in events if event["load_id"] is not None})
    loads = {row["taken"]: row for row in await fetch(connection, FIND_LOADS, (taken,))} if taken else {}
    rejections = await find_rejections(connection, receipt_id, loads)
    facts: dict[int, LoadState] = {}
    written: dict[int, set[int] | None] = {}
    for load_id, row in loads.items():
        names = ("id", "revision", "standing", "duplicates", "unchanged", "failed_before")
        facts[load_id] = LoadState(status=decode(row["status"]), **{name: row[name] for name in names})
        kept = row["revision"] is not None and row["revision"] >= oldest_revision
        written[load_id] = (
            await find_written(connection, tables, [load_id, row["id"]], row["revision"]) if kept else None
        )
    checked = []
    for event in events:
        load_id, line = event["load_id"], event["line"]
        outcome = evaluate_outcome(facts.get(load_id), line, rejections.get((load_id, line)), written.get(load_id))
        source = decode(event["source"])
        # An identity that was generated here means nothing to the sender.
        named = {} if source.startswith("receipt:") else {"source": source, "id": decode(event["event_id"])}
        checked.append({"position": event["position"], **named, **outcome})
    return checked


async def find_rejections(
    connection: AsyncConnection, receipt_id: uuid.UUID, loads: dict[int, DictRow]
) -> dict[tuple[int, int], Rejection]:
    """Why records were rejected, by load and line."""
    with_rejects = [taken for taken, row in loads.items() if row["rejected"]]
    if not with_rejects:
        return {}
    taken_by = {row["id"]: taken for taken, row in loads.items()}
    rows = await fetch(connection, FIND_REJECTED, ([*with_rejects, *(loads[taken]["id"] for taken in with_rejects)],))
    found: dict[tuple[int, int], DictRow] = {}
    for row in rows:
        load_id: int = row["load_id"]
        found[taken_by.get(load_id, load_id), row["line"]] = row
    if len(found) < sum(loads[taken]["rejected"] for taken in with_rejects):
        for row in await fetch(connection, FIND_SEEN_AGAIN, (receipt_id, with_rejects)):
            found.setdefault((row["load_id"], row["line"]), row)
    return {key: Rejection(row["reasons"], decode(row["state"])) for key, row in found.items()}


async def find_written(
    connection: AsyncConnection, tables: DatasetTables, loads: list[int], revision: int
) -> set[int]:
    """The lines of a batch that a revision wrote, whether they are current or replaced meanwhile."""
    lines: set[int] = set()
    for table in (tables.current, tables.history):
        statement = sql.SQL("SELECT {line} AS line FROM {table} WHERE {revision} = %s AND {load} = ANY(%s)").format(
            line=sql.Identifier(LINE),
            table=sql.Identifier(str(table.schema), table.name),
            revision=sql.Identifier(REVISION),
            load=sql.Identifier(LOAD),
        )
        lines |= {row["line"] for row in await fetch(connection, statement, (revision, loads))}
    return lines


async def fetch(connection: AsyncConnection, statement: Any, values: Any) -> list[DictRow]:
    """The rows that a statement gives, by their columns' names."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(statement, values)).fetchall()


def decode(text: bytes | str) -> str:
    """A text as it came from the read pool."""
    return text.decode() if isinstance(text, bytes) else text
