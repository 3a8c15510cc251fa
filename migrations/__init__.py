"""Alembic scripts for Decant's own schema and for the contracts that ship with it."""
