"""Rejected records: kept, reviewed, replayed."""
