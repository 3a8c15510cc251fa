"""Workbooks and Parquet files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import duckdb
import openpyxl


def write_workbook(*rows: list[Any]) -> bytes:
    """A workbook of these rows."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def write_parquet(folder: Path, query: str) -> bytes:
    """The result of a query, as Parquet."""
    path = folder / "written.parquet"
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()
