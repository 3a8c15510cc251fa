"""Datasets of hundreds of columns, cleaned in the memory that there is by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.contract.load import load_catalog
from ingest.cleaning.engine import choose_limits, clean_batch
from ingest.cleaning.plan import compile_cleaning, needed_columns
from ingest.errors import OutOfMemoryError
from runtime.settings.settings import Settings, load_settings
from tests.support.lab import parse_bytes

KINDS = {"integer": "1", "string": "abc", "number": "1.5", "date": "2020-01-01", "boolean": "true"}
HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: wide
name: Wide
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: wide
    customProperties: [{property: input, value: {server: here, path: wide.csv}}]
    properties:
"""
COLUMNS = 350


def clean(folder: Path, rows: int, **chosen: Any) -> int:
    """How many records of a wide batch are good."""
    kinds = [list(KINDS)[index % len(KINDS)] for index in range(COLUMNS)]
    names = [f"      - {{name: c{index}, logicalType: {kind}, primaryKey: {str(index == 0).lower()}}}\n"
             for index, kind in enumerate(kinds)]  # fmt: skip
    (folder / "contracts").mkdir()
    (folder / "contracts" / "wide.odcs.yaml").write_text(HEAD + "".join(names))
    settings = load_settings(home=folder / "home", contracts=folder / "contracts", data=folder, **chosen)
    dataset = load_catalog(settings).find("wide.wide")[0]
    header = ",".join(f"c{index}" for index in range(COLUMNS))
    cells = ",".join(KINDS[kind] for kind in kinds[1:])
    content = f"{header}\n" + "".join(f"{row},{cells}\n" for row in range(rows))
    cut = parse_bytes(folder, content.encode(), needed=needed_columns(dataset))
    plan = compile_cleaning(dataset, cut.header)
    with clean_batch(plan, cut, folder, settings, (1, 1)) as batch:
        return batch.accepted


@pytest.mark.slow
def test_a_few_records_of_many_columns_fit_into_the_memory_of_the_defaults(tmp_path: Path) -> None:
    assert clean(tmp_path, 30, duckdb_threads=4) == 30


@pytest.mark.slow
def test_too_little_memory_is_told_with_the_setting_and_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"more memory than 40MB: increase DECANT_DUCKDB_MEMORY.* 350 columns .* 606 MB"
    ):
        clean(tmp_path, 30, duckdb_memory="40MB")


@pytest.mark.parametrize(
    ("columns", "chosen", "expected"),
    [
        (20, {}, (4, "256MB")),
        (100, {}, (3, "256MB")),
        (101, {}, (2, "257MB")),
        (350, {}, (1, "506MB")),
        (1000, {}, (1, "1156MB")),
        (1000, {"duckdb_memory": "256MB"}, (1, "256MB")),
        (1000, {"duckdb_threads": 1}, (1, "1156MB")),
    ],
)
def test_memory_grows_with_the_columns_unless_it_was_chosen(
    tmp_path: Path, columns: int, chosen: dict[str, Any], expected: tuple[int, str]
) -> None:
    settings: Settings = load_settings(home=tmp_path, **({"duckdb_threads": 4} | chosen))
    assert choose_limits(settings, columns) == expected
