"""Opens DuckDB: it may read the listed files only, and its configuration is locked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb

from runtime.duckdb_quoting import quote_text

# Enough for what looks at SQL, or at the head of a file, and at no records.
SMALL_MEMORY = "512MB"
# Nothing is fetched, and no variable of a program is taken for a table.
CLOSED = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
}


@contextmanager
def open_duckdb(
    *,
    folder: Path | None = None,
    files: Sequence[Path] = (),
    threads: int = 1,
    memory: str = SMALL_MEMORY,
    ordered: bool = True,
    optimizer: Literal["whole", "careful", "off"] = "whole",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees `folder`, where it also puts what finds no room in memory, and `files`.

    With a `careful` optimizer, what expressions share is computed in each of them: otherwise DuckDB takes it out of
    them, and out of the TRY that keeps an error to its record. With none, nothing is computed beforehand.
    """
    spill = str(folder / "spill") if folder is not None else ""
    connection = duckdb.connect(
        config={
            **CLOSED,
            "threads": threads,
            "memory_limit": memory,
            "temp_directory": spill,
            "preserve_insertion_order": ordered,
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it is printed among what scripts read
        if optimizer == "careful":
            connection.execute("SET disabled_optimizers = 'common_subexpressions'")
        if optimizer == "off":
            connection.execute("PRAGMA disable_optimizer")
        if folder is not None:
            connection.execute(f"SET allowed_directories = [{quote_text(str(folder))}]")
        if files:
            connection.execute(f"SET allowed_paths = [{', '.join(quote_text(str(file)) for file in files)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()
