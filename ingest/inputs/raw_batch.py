"""Inputs' interface: the context that an input receives, and the raw batch that it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from catalog.inputs.permits import Permits
from catalog.model.dataset import Dataset, Input
from catalog.storage.dataset_tables import CatalogTables
from ingest.errors import SourceError
from ingest.landing.raw import RawBatch, RawPart
from ingest.ledger.landed_note import Position
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

__all__ = ["InputContext", "RawBatch", "RawPart", "one_part"]


@dataclass(frozen=True)
class InputContext:
    """All that an input may look at."""

    dataset: Dataset
    settings: Settings
    tables: CatalogTables
    engine: sa.Engine
    load_id: int
    state: Position = field(default_factory=dict)  # the position that was published last
    cleaning_sha256: str = ""  # what will be made of the records: the same answer may be worth another look

    @property
    def source(self) -> Input:
        """The dataset's input; SourceError where it has none."""
        if self.dataset.input is None:
            raise SourceError(f"{self.dataset.address} has no input in its contract.")
        return self.dataset.input

    @property
    def permits(self) -> Permits:
        """What of this machine the dataset's contract may use."""
        return Permits(self.settings, self.dataset.product)

    @contextmanager
    def open_folder(self) -> Iterator[Path]:
        """A folder for what the input needs while it is read; of a killed load, the next one removes it."""
        make_private_folder(self.settings.work_folder)
        with TemporaryDirectory(prefix=f"load-{self.load_id}-input-", dir=self.settings.work_folder) as name:
            yield Path(name)


def one_part(name: str, chunks: Iterator[bytes], size: int | None = None) -> Iterator[RawPart]:
    """The parts of a batch that comes in one piece."""
    yield RawPart(name, chunks, size)
