"""What asks to be published, and how that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.cleaning.published_snapshot import Standing
from ingest.publishing.quality_checks import Measurement
from ingest.quarantine.rejected_records import ReasonCount
from ingest.quarantine.replay_merge import Pouring
from ingest.readers.record_writer import CutPart

RawPicker = Callable[[Iterable[int]], Iterator[tuple[int, str]]]


@dataclass(frozen=True)
class Candidate:
    """A cleaned batch that asks to be published."""

    dataset_id: int
    load_id: int
    fencing_token: int
    accepted_file: Path
    reject_files: tuple[Path, ...]
    missing_file: Path | None  # the keys that a snapshot lacks; None: to be found by comparing with all of it
    raw: int
    duplicates: int
    parts: tuple[CutPart, ...]
    cleaning_sha256: str
    batch_sha256: str
    position: dict[str, Any] | None
    may_be_empty: bool
    anyway: bool  # the owner decided to publish what the gates hold back
    replay: Pouring | None  # what is poured again: newer records stay as they are
    confirmed: Path | None  # the keys brought in good order that open rejected records have
    expected_revision: int  # what the accepted file's `_revision` says
    direct: bool  # whether current was empty when the batch was cleaned
    # What batches have had so far: ingest.cleaning.unread.
    seen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: tuple[int, ...] = ()  # lines of records that Postgres refused; the others are staged


@dataclass(frozen=True)
class Outcome:
    """How a load ended, and what was counted and measured."""

    status: str  # published, unchanged or withheld
    revision: int
    raw: int
    accepted: int
    rejected: int
    duplicates: int
    outdated: int = 0  # of the duplicates, those that a current record is newer than, by `orderBy`
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    record_count: int = 0
    reasons: tuple[ReasonCount, ...] = ()
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class Publication:
    """How a load ended, what the dataset is now, and what fell out on the way to it."""

    outcome: Outcome
    standing: Standing
    late: tuple[int, ...]  # lines of good records that Postgres alone found to be rejected, or outdated


class GateClosed(Exception):  # noqa: N818 - a way out of the transaction, not an error
    """A gate held the load back; the transaction must be rolled back."""

    def __init__(self, outcome: Outcome, rejects_file: Path) -> None:
        self.outcome = outcome
        self.rejects_file = rejects_file
        super().__init__(outcome.status)
