"""What several operations of operators share: who may ask, and the parameters of lists."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from fastapi import Request

from api.admin.load_targets import choose, find_products
from api.auth.permissions import require_scope
from api.context import Context, context_of
from api.database.rows import Part
from api.http.problems import parameter_problem
from api.http.query_string import read_count, read_number
from api.http.responses import refuse_unknown
from catalog.types.value_parsers import InvalidValueError, parse_date

USAGE_DAYS = 30
PLACE_PARAMETERS = ("product", "major", "dataset")
PART_PARAMETERS = ("limit", "before")


async def admit_reader(request: Request, known: tuple[str, ...] = ()) -> Context:
    """The service, for an operator who may read, and asks with no other parameters than these."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_unknown(request, known)
    return context


def read_part(request: Request) -> Part:
    """Which part of a list is asked for."""
    return Part(read_number(request, "before", "invalid_cursor"), read_limit(request))


def read_limit(request: Request) -> int:
    """How many are asked for at most."""
    return read_count(request, "limit", 100, 1000, "limit_out_of_range")


def read_place(context: Context, request: Request) -> dict[str, object]:
    """The product, major version and dataset that a query names; a problem for what there is not."""
    given = request.query_params
    products = find_products(context, given.get("product"), given.get("major"))
    return {
        "product": given.get("product"),
        "major": int(given["major"]) if "major" in given else None,
        "dataset": choose(given.get("dataset"), "dataset", [name for p in products for name in p.datasets]),
    }


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
