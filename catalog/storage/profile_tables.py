"""Tables of profiles: what datasets hold, in figures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import DatasetHead, Model


class Profile(Model):
    """What a dataset's current revision holds, in figures: made after its publication, of all its records."""

    __tablename__ = "profiles"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    revision: Mapped[int]
    record_count: Mapped[int]
    properties: Mapped[list[Any]]  # one object for each property
    seconds: Mapped[float] = mapped_column(sa.Double)  # what making it cost
    made_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class PastProfile(Model):
    """What the profile of a revision said in few figures: those of the latest revisions show how a dataset drifts."""

    __tablename__ = "profile_history"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    record_count: Mapped[int]
    properties: Mapped[list[Any]]  # one object for each property
    made_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


PROFILE_TABLES = (Profile, PastProfile)
