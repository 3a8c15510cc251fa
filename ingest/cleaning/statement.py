"""The cleaning statement of a dataset, around the place that it reads raw records from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ingest.cleaning.nested_sql import point_to
from runtime.duckdb_quoting import quote_text

# What the raw columns and the line are called beside the names that transforms use.
INTERNAL_PREFIX = "_decant_"
LINE = "_decant_line"
RECORD = "_decant_record"  # a raw record that is one JSON object


@dataclass(frozen=True)
class CleaningStatement:
    """SQL for DuckDB that makes the table `judged`. It is sent to clusters, and holds no secret."""

    columns: tuple[str, ...]  # of raw records; of JSON objects, the keys that are read
    is_json: bool  # whether each raw record is one JSON object
    delimiter: str
    before: str
    after: str

    def read_from(self, records: Iterable[str], null_mark: str, header: tuple[str, ...] | None = None) -> str:
        """The statement over the reader's files; `null_mark` is a text that no field holds.

        `header` are the columns of the files, where not `columns`: it has all that are read, and maybe others.
        """
        names = [RECORD] if self.is_json else self.name_columns(header or self.columns)
        declared = "".join(f", '{name}': 'VARCHAR'" for name in names)
        files = ", ".join(map(quote_text, records))
        source = (
            f"read_csv([{files}], columns = {{'{LINE}': 'BIGINT'{declared}}}, auto_detect = false,"
            f" header = false, delim = {quote_text(self.delimiter)}, quote = '\"', escape = '\"',"
            f" nullstr = {quote_text(null_mark)}, strict_mode = true, new_line = '\\n', max_line_size = 4000000)"
        )
        return self.before + (self.unfold(source) if self.is_json else source) + self.after

    def name_columns(self, header: tuple[str, ...]) -> list[str]:
        """What the columns of a file are called in the statement."""
        places = {column: index for index, column in enumerate(self.columns)}
        return [
            f"{INTERNAL_PREFIX}{places[column]}" if column in places else f"{INTERNAL_PREFIX}other{number}"
            for number, column in enumerate(header)
        ]

    def unfold(self, source: str) -> str:
        """The columns of records that are JSON objects: texts as they are, all else as JSON."""
        paths = ", ".join(quote_text(point_to(key)) for key in self.columns)
        values = "".join(f", _decant_values[{i + 1}] AS {INTERNAL_PREFIX}{i}" for i in range(len(self.columns)))
        found = f"json_extract_string({RECORD}, [{paths}])" if paths else "NULL"
        return f"(SELECT {LINE}, {RECORD}{values} FROM (SELECT *, {found} AS _decant_values FROM {source}))"

    def read_nothing(self) -> str:
        """The statement over no record at all: what is wrong with it shows all the same."""
        columns = "".join(f", NULL::VARCHAR AS {INTERNAL_PREFIX}{index}" for index in range(len(self.columns)))
        columns += f", NULL::VARCHAR AS {RECORD}" if self.is_json else ""
        return f"{self.before}(SELECT NULL::BIGINT AS {LINE}{columns} LIMIT 0){self.after}"
