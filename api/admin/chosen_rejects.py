"""Resolves the rejected records that the body of a request chooses."""

from __future__ import annotations

from api.context import Context
from api.database.rows import fetch
from api.http.problems import Problem
from api.http.request_body import member_problem
from catalog.model.dataset import Dataset
from catalog.model.reject_choice import IDS_AT_ONCE, RejectChoice
from runtime.json_types import JsonObject
from runtime.plain_text import NOTE_FORM, is_note

MEMBERS = ("rule", "property", "ids", "load")
WAYS = ("rule", "ids", "load")
LARGEST_ID = 2**63 - 1
FIND_LOAD = """
SELECT FROM decant.loads AS l JOIN decant.datasets AS d ON d.id = l.dataset_id
WHERE l.id = %(load)s AND d.product = %(product)s AND d.major = %(major)s AND d.dataset = %(dataset)s
"""
FIND_UNKNOWN = """
SELECT given.place FROM unnest(CAST(%(ids)s AS bigint[])) WITH ORDINALITY AS given (id, place)
WHERE NOT EXISTS (
  SELECT FROM decant.rejected_records AS r JOIN decant.datasets AS d ON d.id = r.dataset_id
  WHERE r.id = given.id AND d.product = %(product)s AND d.major = %(major)s AND d.dataset = %(dataset)s)
ORDER BY given.place LIMIT 1
"""


async def read_choice(context: Context, dataset: Dataset, asked: JsonObject) -> RejectChoice:
    """The choice in the members `rule` with `property`, `ids` and `load`, of which a body has one way at most.

    A problem where it chooses in two ways, or what is not the dataset's.
    """
    given = [name for name in WAYS if asked.get(name) is not None]
    if len(given) > 1:
        raise member_problem(given[1], f"cannot be combined with {given[0]}")
    rule, name = read_text(asked, "rule"), read_text(asked, "property")
    if name is not None and rule is None:
        raise member_problem("property", "needs a rule")
    ids, load = asked.get("ids"), asked.get("load")
    return RejectChoice(
        rule=rule,
        prop=name,
        ids=await read_ids(context, dataset, ids) if ids is not None else None,
        load_id=await read_load(context, dataset, load) if load is not None else None,
    )


def read_text(asked: JsonObject, name: str) -> str | None:
    """A short text, None where there is none."""
    text = asked.get(name)
    if text is None or (isinstance(text, str) and is_note(text)):
        return text
    raise member_problem(name, f"must have {NOTE_FORM}")


async def read_ids(context: Context, dataset: Dataset, given: object) -> tuple[int, ...]:
    """The ids of rejected records of the dataset, in whatever state they are."""
    if not isinstance(given, list) or not 0 < len(given) <= IDS_AT_ONCE or not all(map(is_id, given)):
        raise member_problem("ids", f"must be a list of 1 to {IDS_AT_ONCE:,} ids")
    if len(set(given)) < len(given):
        raise member_problem("ids", "an id is repeated")
    unknown = await fetch(context.read_connections, FIND_UNKNOWN, dataset.place | {"ids": given})
    if unknown:
        message = "is no rejected record of the dataset"
        place = int(unknown[0][0]) - 1
        detail = f"ids: {given[place]} {message}"
        raise Problem("invalid_value", detail, errors=[{"pointer": f"/ids/{place}", "message": message}])
    return tuple(given)


async def read_load(context: Context, dataset: Dataset, given: object) -> int:
    """The id of a load of the dataset."""
    facts = dataset.place | {"load": given}
    if isinstance(given, int) and is_id(given) and await fetch(context.read_connections, FIND_LOAD, facts):
        return given
    raise member_problem("load", "unknown load of the dataset")


def is_id(value: object) -> bool:
    """Whether a value can be an id of the ledger."""
    return type(value) is int and 0 < value <= LARGEST_ID
