"""How both yardsticks listen: exactly as Decant does, on a free port that they announce."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

from api.server import AnnouncingServer

DATABASE_VARIABLE = "BENCH_DATABASE_URL"
ANNOUNCEMENT = "Serving on "


def listen(app: FastAPI) -> None:
    """Nothing comes back until a signal ends the service."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    AnnouncingServer(config, lambda url: print(ANNOUNCEMENT + url, flush=True)).run()
