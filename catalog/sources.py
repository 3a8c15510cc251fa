"""Servers that raw data comes from, as the contract describes them. Frozen values; pure.

${VARIABLES} stay as they are written until the moment of reading: no secret is kept in a value, a digest or the
ledger.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpSource:
    """An HTTP API that is pulled."""

    url: str


@dataclass(frozen=True)
class DatabaseSource:
    """A table or a query of a database that SQLAlchemy reads."""

    url: str


@dataclass(frozen=True)
class BucketSource:
    """Objects in an S3-compatible store. Who may read them is only ever said by the environment (AWS_…)."""

    bucket: str
    folder: str = ""  # what all names are below
    endpoint: str | None = None  # of a store that is not AWS
