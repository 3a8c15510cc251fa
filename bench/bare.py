"""The bare path: a FastAPI route over psycopg's pool, JSON built by Postgres, and nothing else.

No revision, no cursor, no check of parameters: what is left between this and Decant is what Decant's promises cost.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from psycopg import AsyncConnection
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool

from bench.listen import DATABASE_VARIABLE, listen
from bench.wrk import CONNECTIONS

COLUMNS = """flight_id, flight_date, carrier, flight_number, tailnum, origin, destination, scheduled_departure,
  departure, departure_delay, scheduled_arrival, arrival, arrival_delay, cancelled, air_time, distance"""
PAGE = f"""SELECT '{{"data":' || json_agg(page)::text || '}}'
FROM (SELECT {COLUMNS} FROM nyc_flights_v1.flights %s ORDER BY flight_id LIMIT 100) AS page"""
STATEMENTS = {
    "page": PAGE % "",
    "filtered": PAGE % "WHERE carrier = %s AND distance >= %s",
    "walk": PAGE % "WHERE flight_id > %s",
    "record": f"""SELECT '{{"data":' || row_to_json(flight)::text || '}}'
FROM (SELECT {COLUMNS} FROM nyc_flights_v1.flights WHERE flight_id = %s) AS flight""",
}


class BytesLoader(Loader):
    """Leaves text as the bytes that Postgres sent."""

    def load(self, data: Any) -> bytes:
        """The bytes of one value."""
        return bytes(data)


async def configure(connection: AsyncConnection) -> None:
    """Nothing comes back; every statement of the connection is prepared, and text stays bytes."""
    connection.prepare_threshold = 0
    connection.adapters.register_loader("text", BytesLoader)


@asynccontextmanager
async def run(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool while the service runs."""
    app.state.pool = AsyncConnectionPool(
        os.environ[DATABASE_VARIABLE],
        kwargs={"autocommit": True},
        configure=configure,
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        open=False,
    )
    async with app.state.pool:
        yield


app = FastAPI(lifespan=run)


async def answer(request: Request, name: str, *values: object) -> Response:
    """The one value of a statement, as it came."""
    async with request.app.state.pool.connection() as connection:
        cursor = await connection.execute(STATEMENTS[name], values)
        row = await cursor.fetchone()
    return Response(row[0] if row else b"", 200 if row else 404, media_type="application/json")


@app.get("/flights")
async def list_flights(request: Request) -> Response:
    """A page, in the order of the key."""
    query = request.query_params
    if after := query.get("after"):
        return await answer(request, "walk", after)
    if carrier := query.get("carrier"):
        return await answer(request, "filtered", carrier, int(query["distance_gte"]))
    return await answer(request, "page")


@app.get("/flights/{flight_id}")
async def get_flight(request: Request, flight_id: str) -> Response:
    """One flight by its key."""
    return await answer(request, "record", flight_id)


if __name__ == "__main__":
    listen("bench.bare:app")
