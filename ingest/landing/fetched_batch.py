"""A raw batch in the landing zone, with what the ledger remembers of it."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.landing.landed_batch import LandedBatch
from ingest.ledger.landed_note import LandedNote


@dataclass(frozen=True)
class FetchedBatch:
    """What a load works on."""

    landed: LandedBatch
    note: LandedNote
    cleaning_sha256: str  # digest of the statement that will clean it

    @property
    def digests(self) -> tuple[str, str]:
        """Of its bytes and of its cleaning: a batch with both of the latest published one brings nothing new."""
        return self.landed.sha256, self.cleaning_sha256
