"""Access log: one line for each request with its kind, status, duration and caller.

Neither paths nor parameters are written, since they hold values. Lines are gathered and written a few times a second:
a call of the logging library for each request would cost more than many an answer.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import TextIO

from starlette.types import Scope

from api.http.security_events import PRINCIPAL
from runtime.logs import format_field

FLUSH_SECONDS = 0.25
LINES_AT_ONCE = 500

show = lru_cache(maxsize=10_000)(format_field)


class AccessLog:
    """Gathers lines, and writes them."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lines: list[str] = []
        self.second = 0
        self.stamp = ""

    def note(self, scope: Scope, kind: str, status: int, size: int, seconds: float, trace: str) -> None:
        """Notes an answered request; `trace` is its traceresponse."""
        now = time.time()
        if int(now) != self.second:
            self.second = int(now)
            self.stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        principal = scope.get(PRINCIPAL)
        route = getattr(scope.get("route"), "path", None) or kind
        who = f" principal={show(principal.id)}" if principal is not None and principal.id is not None else ""
        self.lines.append(
            f"{self.stamp}.{int(now * 1000) % 1000:03}Z info request method={scope['method']} kind={kind}"
            f" route={show(route)} status={status} bytes={size} ms={seconds * 1000:.1f}{who} trace={trace[3:35]}\n"
        )
        if len(self.lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif len(self.lines) >= LINES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what was gathered."""
        lines, self.lines = self.lines, []
        try:
            self.stream.write("".join(lines))
            self.stream.flush()
        except (OSError, ValueError):
            return  # the log's reader is gone: requests are still answered
