"""The watched inputs: which of them have something new."""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa

from catalog.dataset import Dataset
from catalog.logs import log
from catalog.models import DatasetHead, InputState, Load
from ingest.errors import (
    DatabaseBusyError,
    DiskFullError,
    IngestError,
    InterruptedLoadError,
    OutOfMemoryError,
    SourceUnavailableError,
)
from ingest.failures import is_outage
from ingest.inputs import find_position
from ingest.inputs.batch import InputPlace
from ingest.load import Loader

LOGGER = logging.getLogger("decant.worker")
HELD_BACK = ("withheld", "failed")
PASSING_CODES = {
    error.code
    for error in (
        DatabaseBusyError,
        DiskFullError,
        InterruptedLoadError,
        OutOfMemoryError,
        SourceUnavailableError,
    )
}


def find_news(loader: Loader) -> list[Dataset]:
    """The datasets whose watched input has something that was neither loaded nor, as it is, held back by a load."""
    watched = [
        dataset
        for dataset in loader.catalog.datasets()
        if dataset.input is not None
        and dataset.input.watch
        and loader.catalog.product_of(dataset).status != "retired"
    ]
    return [dataset for dataset in watched if has_news(loader, dataset)]


def has_news(loader: Loader, dataset: Dataset) -> bool:
    """Whether the input stands elsewhere than the last load left it."""
    state, tried = read_progress(loader.engine, dataset)
    place = InputPlace(dataset, loader.settings, loader.tables, loader.engine, 0, state)
    try:
        position = find_position(place)
    except IngestError as error:
        # A load would say why, again and again: a source that is not there has no news.
        log(LOGGER, "input_not_seen", logging.DEBUG, dataset=dataset.address, error_code=error.code)
        return False
    except Exception as error:
        if is_outage(error):
            raise
        # The other inputs are looked at all the same.
        log(LOGGER, "input_not_seen", logging.WARNING, dataset=dataset.address, error=type(error).__name__)
        return False
    return position is not None and json.loads(json.dumps(position)) not in tried


def read_progress(engine: sa.Engine, dataset: Dataset) -> tuple[dict[str, Any], list[Any]]:
    """Where the input stood when a load last ended well, and the positions that the latest load did not get past."""
    heads = sa.select(DatasetHead.id).where(
        DatasetHead.product == dataset.product,
        DatasetHead.major == dataset.major,
        DatasetHead.dataset == dataset.name,
    )
    with engine.connect() as connection:
        dataset_id = connection.execute(heads).scalar_one_or_none()
        stands = sa.select(InputState.position).where(InputState.dataset_id == dataset_id)
        state = connection.execute(stands).scalar_one_or_none()
        latest = connection.execute(
            sa.select(Load.status, Load.error_code, Load.position, Load.landed)
            .where(Load.dataset_id == dataset_id, Load.kind == "ingest")
            .order_by(Load.id.desc())
            .limit(1)
        ).one_or_none()
    # What was in the way may be gone: a full disk, an interruption. That is no judgement on the input.
    passing = latest is not None and latest.status == "failed" and latest.error_code in PASSING_CODES
    if latest is None or latest.status not in HELD_BACK or passing:
        return state or {}, []
    return state or {}, [latest.position, (latest.landed or {}).get("position")]
