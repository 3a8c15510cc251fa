"""Dependencies of the dataset endpoints, beside those of every route."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from api.database.answer_cache import PageCache
from api.datasets.reader import RecordReader
from api.datasets.status_headers import StatusHeaders


@dataclass(frozen=True)
class DatasetResources:
    """The reader of records, headers about a dataset's status, kept answers, and links."""

    reader: RecordReader
    headers: StatusHeaders
    cache: PageCache
    links: tuple[str, ...]  # paths of questions that need no more than a dataset


def dataset_resources(request: Request) -> DatasetResources:
    """Those of the application that a request came to."""
    resources: DatasetResources = request.app.state.datasets
    return resources
