"""Publication candidates and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.model.load_request import PublishWithheld
from ingest.cleaning.engine import CleanBatch
from ingest.cleaning.published_snapshot import PublishedState
from ingest.landing.fetched_batch import FetchedBatch
from ingest.ledger.loads import Ticket
from ingest.publishing.quality_checks import Measurement
from ingest.quarantine.rejected_records import ReasonCount
from ingest.quarantine.replay_merge import ReplayPlan
from ingest.readers.record_writer import ParsedBatch

RawPicker = Callable[[Iterable[int]], Iterator[tuple[int, str]]]


@dataclass(frozen=True)
class Candidate:
    """A cleaned batch that asks to be published."""

    ticket: Ticket
    batch: FetchedBatch
    parsed: ParsedBatch
    clean: CleanBatch
    pick_raw: RawPicker  # the raw text of lines of the batch
    replay: ReplayPlan | None  # the replay: newer records stay unchanged
    corrected: Path | None  # the keys brought in good order that open rejected records have
    direct: bool  # whether it is copied into current, which was empty when the batch was cleaned
    seen: Mapping[str, tuple[str, ...]]  # what batches have had so far: ingest.cleaning.unread
    refused: tuple[int, ...] = ()  # lines of records that Postgres refused; the others are staged
    refused_file: Path | None = None  # these records among the rejected ones

    @property
    def reject_files(self) -> tuple[Path, ...]:
        """The rejected records of every step so far."""
        files = (self.parsed.malformed, self.clean.rejected_file, self.refused_file)
        return tuple(file for file in files if file is not None)

    @property
    def anyway(self) -> bool:
        """Whether the owner decided to publish what the gates hold back."""
        return isinstance(self.ticket.request, PublishWithheld)

    @property
    def replays_rejects(self) -> bool:
        """Whether the batch is made of rejected records, and not the whole one of a load."""
        return self.replay is not None and self.replay.load_id is None


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
    published_state: PublishedState
    late: tuple[int, ...]  # lines of good records that Postgres alone found to be rejected, or outdated


class LoadWithheld(Exception):  # noqa: N818 - a way out of the transaction, not an error
    """A gate held the load back; the transaction must be rolled back."""

    def __init__(self, outcome: Outcome, rejects_file: Path) -> None:
        self.outcome = outcome
        self.rejects_file = rejects_file
        super().__init__(outcome.status)
