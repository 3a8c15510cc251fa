"""What every part runs on: settings, logs, telemetry, errors, the way to Postgres and to DuckDB."""
