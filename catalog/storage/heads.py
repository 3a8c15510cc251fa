"""Which row of the ledger is a dataset's head."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import DatasetHead


def is_head_of(dataset: Dataset) -> sa.ColumnElement[bool]:
    """The condition that a row of `datasets` is the dataset's."""
    return sa.and_(
        DatasetHead.product == dataset.product,
        DatasetHead.major == dataset.major,
        DatasetHead.dataset == dataset.name,
    )
