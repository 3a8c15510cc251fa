"""Whole datasets as files: CSV, NDJSON, Parquet, Arrow and Excel."""
