"""Dependencies of the dataset endpoints, beside those of every route."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from api.database.answer_cache import PageCache
from api.datasets.reader import RecordReader
from api.datasets.status_headers import StatusHeaders


@dataclass(frozen=True)
class DatasetResources:
    """The reader of records, the headers that say how a dataset stands, and the answers that are kept."""

    reader: RecordReader
    headers: StatusHeaders
    cache: PageCache


def dataset_resources(request: Request) -> DatasetResources:
    """Those of the application that a request came to."""
    resources: DatasetResources = request.app.state.datasets
    return resources
