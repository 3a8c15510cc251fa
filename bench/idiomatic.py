"""The yardstick of serving: the same endpoints as FastAPI, async SQLAlchemy and pydantic are usually put together.

In its best honest shape: one pooled connection for each request under way, logs off, uvloop and httptools, no
transaction around a single SELECT, each row validated once, pages found by key. The session is opened in the route:
as a dependency it costs a single record about a tenth more.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, Text, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.listen import DATABASE_VARIABLE, listen
from bench.wrk import CONNECTIONS


class Base(DeclarativeBase):
    """The mapped classes."""

    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}  # noqa: RUF012


class Flight(Base):
    """A flight, as Decant's table keeps it."""

    __tablename__ = "flights"
    __table_args__ = {"schema": "nyc_flights_v1"}  # noqa: RUF012

    flight_id: Mapped[str] = mapped_column(primary_key=True)
    flight_date: Mapped[date]
    carrier: Mapped[str]
    flight_number: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str]
    destination: Mapped[str]
    scheduled_departure: Mapped[datetime]
    departure: Mapped[datetime | None]
    departure_delay: Mapped[int | None]
    scheduled_arrival: Mapped[datetime]
    arrival: Mapped[datetime | None]
    arrival_delay: Mapped[int | None]
    cancelled: Mapped[bool]
    air_time: Mapped[int | None]
    distance: Mapped[int]


class FlightOut(BaseModel):
    """A flight, as it leaves."""

    model_config = ConfigDict(from_attributes=True)

    flight_id: str
    flight_date: date
    carrier: str
    flight_number: int
    tailnum: str | None
    origin: str
    destination: str
    scheduled_departure: datetime
    departure: datetime | None
    departure_delay: int | None
    scheduled_arrival: datetime
    arrival: datetime | None
    arrival_delay: int | None
    cancelled: bool
    air_time: int | None
    distance: int


class Page(BaseModel):
    """A page of flights; `next` is the key to go on after."""

    data: list[FlightOut]
    next: str | None


class Record(BaseModel):
    """One flight."""

    data: FlightOut


@asynccontextmanager
async def run(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool while the service runs."""
    url = os.environ[DATABASE_VARIABLE].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, isolation_level="AUTOCOMMIT")
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = FastAPI(lifespan=run)


@app.get("/flights", response_model=Page)
async def list_flights(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    carrier: str | None = None,
    distance_gte: int | None = None,
    after: str | None = None,
) -> dict[str, object]:
    """A page, in the order of the key."""
    statement = select(Flight).order_by(Flight.flight_id).limit(limit + 1)
    if carrier is not None:
        statement = statement.where(Flight.carrier == carrier)
    if distance_gte is not None:
        statement = statement.where(Flight.distance >= distance_gte)
    if after is not None:
        statement = statement.where(Flight.flight_id > after)
    async with request.app.state.sessions() as session:
        flights = (await session.scalars(statement)).all()
    # FastAPI validates and writes what a route returns: building the models here would do the work twice.
    return {"data": flights[:limit], "next": flights[limit - 1].flight_id if len(flights) > limit else None}


@app.get("/flights/{flight_id}", response_model=Record)
async def get_flight(request: Request, flight_id: str) -> dict[str, object]:
    """One flight by its key."""
    async with request.app.state.sessions() as session:
        flight = await session.get(Flight, flight_id)
    if flight is None:
        raise HTTPException(404)
    return {"data": flight}


if __name__ == "__main__":
    listen("bench.idiomatic:app")
