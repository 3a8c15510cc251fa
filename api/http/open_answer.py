"""What answers that stay open share: the end of their caller, and what they ask of their connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive

LINE = "decant.line"  # where a request keeps its connection; absent where another server holds it


class Line(Protocol):
    """The connection of an answer that stays open."""

    def hold_open(self, on_shutdown: Callable[[], None]) -> None:
        """Lets nothing be written before the reader has taken what was; the service's shutdown calls the function."""

    def cut(self) -> None:
        """Ends the connection at once, with what its reader has not taken."""


async def wait_until_gone(receive: Receive) -> None:
    """Nothing comes back until the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
