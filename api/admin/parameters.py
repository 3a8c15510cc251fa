"""Query parameters that several administrative endpoints share."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from fastapi import Request

from api.http.problems import parameter_problem
from catalog.types.value_parsers import InvalidValueError, parse_date

USAGE_DAYS = 30


def read_days(request: Request) -> tuple[date, date]:
    """From which day to which; the last thirty where nothing is said."""
    today = datetime.now(UTC).date()
    days = {"from": today - timedelta(days=USAGE_DAYS - 1), "to": today}
    for name in days:
        text = request.query_params.get(name)
        if text is not None:
            try:
                days[name] = parse_date(text)
            except InvalidValueError as error:
                raise parameter_problem("invalid_value", name, str(error)) from None
    return days["from"], days["to"]
