"""A text that an API filter, a key or a contract writes -> its value, in Python; InvalidValueError where it is none.

Raw records are judged by DuckDB instead (catalog.types.property_types), by the same rules: a table of tests holds the
two together.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

INTEGER_TEXT = re.compile(r"[+-]?[0-9]+")
NUMBER_TEXT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
DATE_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
OFFSET = r"(Z|z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)?"  # what Postgres takes: less than 16 hours
LOCAL_TEXT = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{CLOCK}"
TIME_TEXT = re.compile(CLOCK)
TIMESTAMP_TEXT = re.compile(LOCAL_TEXT + OFFSET)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class InvalidValueError(ValueError):
    """A text that is not a value of the type; says what is expected."""


class TooManyValuesError(ValueError):
    """More values, or longer ones, than one filter takes."""


def parse_integer(bounds: tuple[int, int]) -> Callable[[str], int]:
    """A parser of integers within `bounds`."""

    def parse(text: str) -> int:
        # Nineteen digits cover every bigint; longer input is refused before int() looks at it.
        digits = text.lstrip("+-").lstrip("0") or "0"
        value = int(digits) if INTEGER_TEXT.fullmatch(text) and len(digits) <= 19 else None
        if value is not None and text.startswith("-"):
            value = -value
        if value is None or not bounds[0] <= value <= bounds[1]:
            raise InvalidValueError(f"expected an integer from {bounds[0]} to {bounds[1]}")
        return value

    return parse


def parse_number(text: str) -> float:
    """A finite number."""
    value = float(text) if NUMBER_TEXT.fullmatch(text) else math.inf
    if math.isinf(value):
        raise InvalidValueError("expected a finite number such as 12.5")
    return value


def parse_numeric(precision: int, scale: int) -> Callable[[str], Decimal]:
    """A parser of exact decimal numbers; what the column would round, or has no room for, is none."""

    def parse(text: str) -> Decimal:
        try:
            value = Decimal(text) if NUMBER_TEXT.fullmatch(text) else None
        except InvalidOperation:
            value = None
        if value is None or not fits(value, precision, scale):
            decimals = f", {scale} of them decimals" if scale else " and no decimals"
            raise InvalidValueError(f"expected a decimal number of at most {precision} digits{decimals}")
        return value if value else Decimal(0)

    return parse


def fits(value: Decimal, precision: int, scale: int) -> bool:
    """Whether a column of so many digits and decimals holds a number as it is."""
    _, digits, exponent = value.as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    significant = written.rstrip("0")
    last = int(exponent) + len(written) - len(significant)  # the place of the last digit that counts
    return not significant or (last >= -scale and last + len(significant) <= precision - scale)


def parse_text(text: str) -> str:
    """The text itself; Postgres stores no NUL."""
    if "\0" in text:
        raise InvalidValueError("text must not contain a NUL character")
    return text


def parse_boolean(text: str) -> bool:
    """true, false, 1 or 0, in any case."""
    if text.lower() not in {"true", "false", "1", "0"}:
        raise InvalidValueError("expected true or false")
    return text.lower() in {"true", "1"}


def parse_date(text: str) -> date:
    """A day, YYYY-MM-DD, years 1 to 9999."""
    try:
        if DATE_TEXT.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidValueError("expected a date such as 2013-01-31")


def parse_time(text: str) -> time:
    """A time of day."""
    try:
        if TIME_TEXT.fullmatch(text):
            return time.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidValueError("expected a time such as 17:30:00")


def parse_timestamp(text: str) -> datetime:
    """A moment; one without an offset is taken as UTC."""
    try:
        if TIMESTAMP_TEXT.fullmatch(text):
            timestamp = datetime.fromisoformat(text.replace("z", "Z"))
            return timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    # A plus sign in a URL means a space; the example shows that it must be encoded.
    raise InvalidValueError("expected a timestamp such as 2013-01-31T17:30:00Z (encode + as %2B)")


def parse_local_timestamp(text: str) -> datetime:
    """A date and time without a time zone."""
    timestamp = parse_timestamp(text)
    if not re.fullmatch(r".*[T ][0-9:.]+", text):
        raise InvalidValueError("expected a timestamp without a time zone such as 2013-01-31T17:30:00")
    return timestamp.replace(tzinfo=None)


def parse_uuid(text: str) -> uuid.UUID:
    """A UUID in its usual form."""
    if not UUID_TEXT.fullmatch(text):
        raise InvalidValueError("expected a UUID such as 6f1e2d3c-0000-4000-8000-000000000000")
    return uuid.UUID(text)
