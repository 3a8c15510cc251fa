"""What the threads of a worker share: calls outside the event loop, hints of the database, chores that carry on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa

from catalog.storage.channels import EVENTS_CHANNEL, LOADS_CHANNEL, REVISIONS_CHANNEL
from runtime.errors import CatalogError
from runtime.logs import log
from runtime.postgres.database import APPLICATION_NAME

CHANNELS = (LOADS_CHANNEL, REVISIONS_CHANNEL, EVENTS_CHANNEL)
SWEEP_SECONDS = 0.5
LOGGER = logging.getLogger("decant.worker")
T = TypeVar("T")


@contextmanager
def log_failure(event: str) -> Iterator[None]:
    """Logs what a chore raises: it is tried again."""
    try:
        yield
    except (psycopg.Error, sa.exc.SQLAlchemyError, CatalogError) as error:
        log(LOGGER, event, logging.WARNING, error=type(error).__name__)
    except Exception:
        LOGGER.exception(event)


def listen(url: str) -> psycopg.Connection:
    """A connection that hears the hints."""
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=5, application_name=f"{APPLICATION_NAME}-listen"
    )
    for channel in CHANNELS:
        connection.execute(f"LISTEN {channel}".encode())
    return connection


async def wait_for(event: threading.Event) -> None:
    """Returns when another thread has set the event."""
    while not event.is_set():
        await asyncio.sleep(SWEEP_SECONDS / 2)


async def in_thread(call: Callable[[], T]) -> T:
    """What the call returns from a thread of its own, one that holds up nobody's exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(method: Callable[[Any], None], value: object) -> None:
        if not future.done():
            method(value)

    def work() -> None:
        try:
            value = call()
        except BaseException as error:
            result: tuple[Callable[[Any], None], Any] = (future.set_exception, error)
        else:
            result = (future.set_result, value)
        with suppress(RuntimeError):  # the loop is over: nobody waits any more
            loop.call_soon_threadsafe(finish, *result)

    threading.Thread(target=work, daemon=True).start()
    return await future
