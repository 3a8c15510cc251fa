"""A service in a thread, which ends as soon as it is told to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from httpx._transports import default as transports

from runtime.trusted_roots import trust_context

TICK_SECONDS = 1  # how often the date of answers moves on
LAST_ANSWERS_SECONDS = 0.005  # how often the end looks whether all answers have gone
# To read the trusted certificates takes longer than most tests' requests, none of which is encrypted.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def share_trusted_roots() -> None:
    """From here on, clients that say nothing of TLS share the product's context."""
    create = transports.create_ssl_context  # type: ignore[attr-defined]

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        says_nothing = verify is True and cert is None and trust_env
        return trust_context() if says_nothing else create(verify, cert, trust_env)

    transports.create_ssl_context = create_ssl_context  # type: ignore[attr-defined]


class PromptServer(uvicorn.Server):
    """Uvicorn's server, which is told when it is to end; its own looks ten times a second, and then waits as long."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, *args: Any, **kwargs: Any) -> None:
        """Starts to listen, and says so."""
        self.loop, self.ending = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(*args, **kwargs)
        self.ready.set()

    async def main_loop(self) -> None:
        """Lasts until `end`."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), TICK_SECONDS)

    async def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Waits for the answers that are under way, and ends the application."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(LAST_ANSWERS_SECONDS)
        await self.lifespan.shutdown()

    def end(self) -> None:
        """Tells it to end, from another thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # it has ended by itself
            self.loop.call_soon_threadsafe(self.ending.set)


@contextmanager
def run_in_thread(config: uvicorn.Config) -> Iterator[tuple[str, int]]:
    """Host and port of a service that runs as long as the context."""
    server = PromptServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(20), "the service did not start"
    try:
        host, port = server.servers[0].sockets[0].getsockname()
        yield host, port
    finally:
        server.end()
        thread.join(20)
