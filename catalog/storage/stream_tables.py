"""How far the loads of each stream are behind what its broker holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import DatasetHead, Model


class StreamLag(Model):
    """The last measurement of a dataset's stream."""

    __tablename__ = "stream_lags"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    topic: Mapped[str]
    partitions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # partition, next, end
    records: Mapped[int] = mapped_column(sa.BigInteger)  # offsets that wait, over all partitions
    caught_up_at: Mapped[datetime | None]  # when everything up to then had been read; null where it never had
    error: Mapped[str | None]  # why it could not be measured since
    measured_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
