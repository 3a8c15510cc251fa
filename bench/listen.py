"""How both yardsticks listen: exactly as Decant does, on a free port that they announce."""

from __future__ import annotations

import os

import uvicorn
from uvicorn.supervisors import Multiprocess

from api.server import BACKLOG, AnnouncingServer

DATABASE_VARIABLE = "BENCH_DATABASE_URL"
PROCESSES_VARIABLE = "BENCH_PROCESSES"
ANNOUNCEMENT = "Serving on "


def listen(app: str) -> None:
    """Nothing comes back until a signal ends the service; `app` is named as uvicorn does, for other processes."""
    processes = int(os.environ.get(PROCESSES_VARIABLE, "1"))
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
        workers=processes,
    )
    if processes == 1:
        AnnouncingServer(config, announce).run()
        return
    socket = config.bind_socket()
    socket.listen(BACKLOG)
    announce("http://{}:{}".format(*socket.getsockname()[:2]))
    Multiprocess(config, sockets=[socket]).run()


def announce(address: str) -> None:
    """Nothing comes back; prints where the service listens."""
    print(ANNOUNCEMENT + address, flush=True)
