"""Postgres logical replication: rows of a source table, as they change."""
