"""The replicated table, and whether a dataset can follow it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.model.dataset import Dataset, Input
from catalog.model.sources import ReplicationSource
from ingest.cleaning.plan import needed_columns
from ingest.errors import MissingColumnsError, SourceError
from ingest.inputs.replication.pgoutput import Column
from ingest.inputs.replication.values import Types
from ingest.readers.record_writer import DELETED, JSON_COLUMN

NOTHING, WHOLE = "n", "f"  # of replica identities


@dataclass(frozen=True)
class Table:
    """A table of the source, as it is now."""

    schema: str
    name: str
    identity: str  # its replica identity; see Relation
    rows: int  # about
    columns: tuple[Column, ...]  # that the publication has
    large: frozenset[str]  # the columns whose values may be stored apart from their rows
    row_filter: str | None  # the publication's, as SQL
    types: Types

    @property
    def address(self) -> str:
        """What a person calls it."""
        return f"{self.schema}.{self.name}"


def quote(*names: str | None) -> str:
    """Names as SQL has them, with dots between."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names if name)


def source_of(source: Input) -> ReplicationSource:
    """The input's source; SourceError where it has none that is replicated."""
    if not isinstance(source.source, ReplicationSource):
        raise SourceError("The input is not fed by logical replication.")
    return source.source


def key_columns(dataset: Dataset) -> frozenset[str]:
    """The raw columns that the dataset's key is read from."""
    return frozenset(column for name in dataset.key for column in dataset.properties[name].raw_columns)


def check_table(dataset: Dataset, table: Table) -> None:
    """SourceError where the dataset cannot follow the table: a column is gone, or changes would lack values."""
    read = set(needed_columns(dataset)) - {DELETED}
    names = {column.name for column in table.columns}
    if missing := sorted(read - names - {JSON_COLUMN}):
        raise MissingColumnsError(
            f"The table {table.address} has, or its publication gives, no column {', '.join(missing)},"
            " which the contract reads."
        )
    demand = f"Its owner sets it: ALTER TABLE {table.address} REPLICA IDENTITY FULL."
    identity = {column.name for column in table.columns if column.is_key}
    if table.identity == NOTHING or (lacking := sorted(key_columns(dataset) - identity)):
        what = "anything" if table.identity == NOTHING or not identity else ", ".join(lacking)
        raise SourceError(
            f"Deletions from {table.address} do not say {what}, which the dataset's key needs. {demand}"
        )
    large = sorted(table.large if JSON_COLUMN in read else table.large & read)
    if large and table.identity != WHOLE:
        raise SourceError(
            f"{table.address} may store values of {', '.join(large)} apart from their rows; changes that leave them"
            f" as they are come without them. {demand}"
        )
