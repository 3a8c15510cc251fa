"""The forms of exports."""

from __future__ import annotations

from api.http.negotiation import CSV, NDJSON, Form

PARQUET = Form("parquet", "application/vnd.apache.parquet", ("application/x-parquet",))
ARROW = Form("arrow", "application/vnd.apache.arrow.stream")
XLSX = Form("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
FORMS = (CSV, NDJSON, PARQUET, ARROW, XLSX)
BY_NAME = {form.name: form for form in FORMS}
# Made as files first: they are read in pieces, or cannot be written from front to back.
FILED = frozenset({PARQUET, XLSX})
EXCEL_RECORDS = 1_048_575  # the rows of a sheet, without the header
EXCEL_CHARACTERS = 32_767  # of a cell, as UTF-16 units
