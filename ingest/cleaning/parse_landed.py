"""Raw batch -> parsed records: here, or where a cluster judges them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from catalog.model.dataset import Dataset, file_format_of
from ingest.cleaning.engine import choose_limits, find_native, open_engine
from ingest.cleaning.engines.slices import Parsing
from ingest.cleaning.engines.spark import is_spread, parse_pieces
from ingest.cleaning.plan import compile_cleaning, needed_columns, reads_json
from ingest.cleaning.transforms import require_plain
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch
from ingest.readers.pieces import can_be_pieces, cut_batch
from ingest.readers.record_writer import ParsedBatch
from runtime.settings.settings import Settings

FEWEST = 2  # pieces that are worth parsing elsewhere


def parse_landed(
    dataset: Dataset, batch: LandedBatch, settings: Settings, folder: Path, advance: Callable[[int], None]
) -> ParsedBatch:
    """The batch's records, in files in `folder`: parsed for this process to judge, or judged by a cluster already."""
    file_format, needed, limit = file_format_of(dataset), needed_columns(dataset), UnpackLimit.of(settings)
    spread = is_spread(settings, batch)
    if spread and can_be_pieces(batch, file_format):
        pieces, lines = cut_batch(batch, file_format, limit, folder)
        if len(pieces) >= FEWEST:
            parsing = Parsing(tuple(pieces), file_format, tuple(needed), limit)
            parsed = parse_elsewhere(dataset, parsing, lines, settings, folder)
            advance(parsed.raw)
            return parsed
    return parse_batch(batch, file_format, needed, folder, limit, advance, sliced=spread)


def parse_elsewhere(
    dataset: Dataset, parsing: Parsing, lines: dict[int, Path], settings: Settings, folder: Path
) -> ParsedBatch:
    """The batch, as tasks of the cluster parse and judge it."""
    plan = compile_cleaning(dataset, parsing.needed, find_native(dataset), is_json=reads_json(dataset))
    with open_engine(settings, folder) as engine:
        require_plain(engine, dataset)
    memory = choose_limits(settings, max(plan.width, len(plan.values)))[1]
    return parse_pieces(settings, plan, parsing, lines, folder, memory)
