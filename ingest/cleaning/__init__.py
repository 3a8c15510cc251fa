"""Raw records -> typed records and rejections, in DuckDB."""
