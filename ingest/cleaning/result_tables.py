"""The result tables of cleaning in DuckDB: accepted, new or changed, and missing records.

`judged` holds every record that was parsed. Where the records of the current revision are known
(ingest.cleaning.published_snapshot), those that are repeated unchanged are told apart here, and Postgres is only
asked about the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import duckdb

from ingest.cleaning.newest import order_property
from ingest.cleaning.plan import CleaningPlan, quote_text
from ingest.cleaning.published_snapshot import PublishedSnapshot


class ResultTables:
    """Queries over one judged batch, on the connection that holds it."""

    def __init__(
        self, engine: duckdb.DuckDBPyConnection, plan: CleaningPlan, snapshot: PublishedSnapshot | None
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.keys = ", ".join(plan.key)
        self.doubled = False
        self.snapshot = f"read_parquet({quote_text(str(snapshot.file))})" if snapshot else None

    def count(self) -> tuple[int, int, int]:
        """How many records were rejected, repeat the key of a newer one, and are good."""
        total, rejected = count(self.engine, "SELECT count(*), count(reasons) FROM judged")
        (distinct,) = count(
            self.engine, f"SELECT count(*) FROM (SELECT DISTINCT {self.keys} FROM judged WHERE reasons IS NULL)"
        )
        duplicates = total - rejected - distinct
        self.doubled = duplicates > 0
        return rejected, duplicates, distinct

    def filled(self) -> dict[str, float]:
        """The share of the good records that have a value of each property; empty where there is no record."""
        found = ", ".join(f"count({value})" for value in self.plan.values)
        total, *numbers = count(self.engine, f"SELECT count(*), {found} FROM judged WHERE reasons IS NULL")
        names = self.plan.dataset.properties
        return {name: number / total for name, number in zip(names, numbers, strict=True)} if total else {}

    def newest(self) -> str:
        """The newest of each key of the records that break no rule: one to keep, or one that deletes its key.

        A deletion without an order value stands by its line: `deleted_at` is the line of the last one of the key, and
        what stands behind it is newer, whatever its own value.
        """
        if not self.doubled:
            nothing = ", NULL::BIGINT AS deleted_at" if self.plan.deletes else ""
            return f"(SELECT *{nothing} FROM judged WHERE reasons IS NULL)"
        source, order = "judged WHERE reasons IS NULL", newest_first(self.plan)
        if self.plan.deletes:
            undated = f"max(CASE WHEN {self.undated()} THEN line END) OVER (PARTITION BY {self.keys})"
            source = f"(SELECT *, {undated} AS deleted_at FROM {source})"
            order = f"coalesce(line > deleted_at, TRUE) DESC, line IS NOT DISTINCT FROM deleted_at DESC, {order}"
        return f"(SELECT * FROM {source} QUALIFY row_number() OVER (PARTITION BY {self.keys} ORDER BY {order}) = 1)"

    def undated(self) -> str:
        """SQL that is true for a deletion that has no value by which it is older or newer than another record."""
        prop = order_property(self.plan.dataset)
        return f"deleted AND {self.plan.value(prop.name)} IS NULL" if prop else "deleted"

    def good(self) -> str:
        """The good records, the newest of each key."""
        newest = self.newest()
        return f"(SELECT * FROM {newest} WHERE NOT deleted)" if self.plan.deletes else newest

    def count_deletions(self) -> int:
        """How many keys the batch deletes and does not bring again."""
        return (
            count(self.engine, f"SELECT count(*) FROM {self.newest()} WHERE deleted")[0] if self.plan.deletes else 0
        )

    def write_deletions(self, file: Path) -> None:
        """The keys that the batch deletes: (key, line, order value, whether the batch brings the key again)."""
        prop = order_property(self.plan.dataset)
        value = f"CAST({self.plan.value(prop.name)} AS VARCHAR)" if prop else "NULL"
        self.write(
            file,
            f"SELECT {self.keys}, line, {value}, NOT deleted FROM {self.newest()}"
            " WHERE deleted OR deleted_at IS NOT NULL",
        )

    def fresh(self) -> str:
        """The good records that are not known to be current as they are."""
        if self.snapshot is None:
            return self.good()
        others = [value for value in self.plan.values if value not in self.plan.key]
        same = " AND ".join(f"good.{value} IS NOT DISTINCT FROM known.{value}" for value in others) or "TRUE"
        condition = f"{self.match()} AND {same}"
        return f"(SELECT good.* FROM {self.good()} AS good ANTI JOIN {self.snapshot} AS known ON {condition})"

    def missing(self) -> str:
        """The keys that are current, and in no record of the batch."""
        return (
            f"SELECT {', '.join(f'known.{key}' for key in self.plan.key)} FROM {self.snapshot} AS known"
            f" ANTI JOIN judged AS good ON {self.match()}"
        )

    def write_corrected(self, file: Path, keys: Path) -> None:
        """The (line, key, order value, whether a deletion without one) of the newest records of the listed keys.

        The keys are listed in the file `keys`.
        """
        listed = f"SELECT key FROM read_csv({quote_text(str(keys))}, columns = {{'key': 'VARCHAR'}}, header = false)"
        key = key_text(self.plan)
        prop = order_property(self.plan.dataset)
        value = f"CAST({self.plan.value(prop.name)} AS VARCHAR)" if prop else "NULL"
        undated = f"coalesce({self.undated()}, FALSE)" if self.plan.deletes else "FALSE"
        self.write(file, f"SELECT line, {key}, {value}, {undated} FROM {self.newest()} WHERE {key} IN ({listed})")

    def match(self) -> str:
        """SQL that pairs `good` and `snapshot` by key."""
        return " AND ".join(f"good.{key} = known.{key}" for key in self.plan.key)

    def write(self, file: Path, query: str) -> None:
        """A query's rows in a file that COPY takes."""
        self.engine.execute(f"COPY ({query}) TO {quote_text(str(file))} (FORMAT csv, HEADER false)")

    def write_snapshot(self, file: Path, late: Collection[int], *, snapshot: bool) -> None:
        """What will be current when the batch is published, as far as it is known; without the lines in `late`.

        Of what was known before, an upsert leaves what the batch does not name, and a snapshot what it names in
        rejected records alone.
        """
        values = ", ".join(self.plan.values)
        out = f" WHERE line NOT IN ({', '.join(map(str, late))})" if late else ""
        query = f"SELECT {values} FROM {self.good()}{out}"
        if self.snapshot is not None:
            good = f"(SELECT * FROM {self.newest()}{out}) AS good"
            left = f"SELECT {values} FROM {self.snapshot} AS known ANTI JOIN {good} ON {self.match()}"
            if snapshot:
                named = f"SELECT {key_text(self.plan)} FROM judged"
                left = f"SELECT * FROM ({left}) WHERE {key_text(self.plan)} IN ({named})"
            query = f"{query} UNION ALL {left}"
        # Another cursor: this may run while the first one waits for Postgres.
        self.engine.cursor().execute(f"COPY ({query}) TO {quote_text(str(file))} (FORMAT parquet)")


def count(engine: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """The one row of numbers that a query gives."""
    row = engine.execute(query).fetchone()
    return tuple(int(value) for value in row or ())


def newest_first(plan: CleaningPlan) -> str:
    """The order in which the first of several records with one key is the newest."""
    chosen = plan.dataset.input.order_by if plan.dataset.input else None
    order = f"{plan.value(chosen)} DESC NULLS LAST, " if chosen else ""
    return f"{order}line DESC"


def key_text(plan: CleaningPlan) -> str:
    """SQL for a record's key as text, its parts joined by commas; null where a part is missing."""
    return " || ',' || ".join(f"CAST({column} AS VARCHAR)" for column in plan.key)
