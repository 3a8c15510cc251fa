"""The limit of the framework: a FastAPI route that returns the same bytes to everybody and asks no database."""

from __future__ import annotations

import os

from fastapi import FastAPI, Response

from bench.listen import listen

BYTES_VARIABLE = "BENCH_CONSTANT_BYTES"
BODY = b"x" * int(os.environ.get(BYTES_VARIABLE, "40000"))

app = FastAPI()


@app.get("/flights")
async def list_flights() -> Response:
    """As many bytes as a page has."""
    return Response(BODY, media_type="application/json")


if __name__ == "__main__":
    listen("bench.constant:app")
