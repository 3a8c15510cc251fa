"""Logs: a constant message and its facts, one line each. Never values, keys or cursors."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from runtime.plain_text import plain

LONGEST = 20_000  # characters of one message, a trace included
PLAIN = re.compile(r"[^\s\"=]+")


class FieldsFormatter(logging.Formatter):
    """`2026-01-31T06:00:00Z info load_published load_id=7 seconds=0.4`."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the library's
        """The time in UTC, to the millisecond."""
        at = datetime.fromtimestamp(record.created, UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"

    def format(self, record: logging.LogRecord) -> str:
        """One line, and an exception's below it."""
        facts: dict[str, Any] = getattr(record, "facts", {})
        words = [self.formatTime(record), record.levelname.lower(), record.getMessage()]
        line = " ".join(words + [f"{name}={format_field(fact)}" for name, fact in facts.items() if fact is not None])
        text = f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
        return plain(text, LONGEST)


def format_field(fact: object) -> str:
    """One value as written after its `=`; quoted where it would not be one word."""
    if isinstance(fact, datetime):
        return f"{fact:%Y-%m-%dT%H:%M:%SZ}"
    text = f"{fact:.3g}" if isinstance(fact, float) else str(fact)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def log(logger: logging.Logger, message: str, level: int = logging.INFO, /, **facts: Any) -> None:
    """Writes a constant message with its facts."""
    logger.log(level, message, extra={"facts": facts})


def open_logs(level: int = logging.INFO) -> None:
    """Sends our own messages from `level` on, and other libraries' warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldsFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("decant").setLevel(level)
    # These report an outage repeatedly, with traces; their callers log once that the database is gone.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
