"""What a form adds to a question: each part of the form becomes a parameter of the API. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote_plus

from api.portal.explorer.question import OF_RECORDS, ORDER, Exploration, encode_value
from catalog.types.filter_operators import OPERATORS

SEVERAL = frozenset(operator.key for operator in OPERATORS if operator.several)
QUESTION = "_question"  # the question that the form adds to, as one text: fields would lose which commas separate
DAY = re.compile(r"(?<![\d-])[0-9]{4}-[0-9]{2}-[0-9]{2}(?=\s*(,|$))")  # alone, or in a list
FORM = (
    *("_add_property", "_add_operator", "_add_value"),
    *("_add_group", "_add_bucket", "_add_measure", "_add_of", "_add_instead"),
)


def apply_form(question: Exploration, moments: Collection[str] = ()) -> Exploration:
    """The question with what the form says, and without the form's own parameters.

    `moments` are the properties that hold moments: a day that is given for one is its beginning.
    """
    given = {name: question.value(name) or "" for name in FORM}
    found = Exploration(tuple(part for part in question.parts if part[0] not in (*FORM, QUESTION)))
    if before := question.value(QUESTION):
        found = Exploration.read(before)
    if given["_add_property"] and given["_add_value"]:
        operator = given["_add_operator"] or "eq"
        name, value = filter_name(given["_add_property"], operator), given["_add_value"]
        if given["_add_property"] in moments:
            value = DAY.sub(r"\g<0>T00:00:00", value)
        found = found.without(*[part for part in found.parts if part[0] == name])
        found = found.add(name, encode_value(value, several=operator in SEVERAL))
    if given["_add_group"]:
        bucket, prop = given["_add_bucket"], encode_value(given["_add_group"])
        if bucket.replace(".", "", 1).isdigit():
            prop = f"bin({prop},{bucket})"
        elif bucket:
            prop = f"{bucket}({prop})"
        found = add_member(found, "group_by", prop)
    if given["_add_measure"]:
        # A measure that the API refuses stays in the question, where it can be seen; the next takes its place.
        found = drop_incomplete(found, given["_add_instead"])
        of = f":{encode_value(given['_add_of'])}" if given["_add_of"] else ""
        found = add_member(found, "measure", encode_value(given["_add_measure"]) + of)
    return found


def drop_incomplete(question: Exploration, refused: str) -> Exploration:
    """The question without measures that lack their property, and without the one that was refused."""
    members = question.values("measure")
    whole = (member for member in members if (":" in member or member == "count") and member != refused)
    kept = [encode_member(member) for member in whole]
    return question if len(kept) == len(members) else question.set("measure", ",".join(kept) or None)


def filter_name(prop: str, operator: str) -> str:
    """The parameter of a filter; of a property that is called like another parameter, the operator is written out."""
    return prop if operator == "eq" and prop not in ORDER else f"{prop}[{operator}]"


def add_member(question: Exploration, name: str, member: str) -> Exploration:
    """The question with one more member of a list; what it has already is not added again."""
    if unquote_plus(member) in question.values(name):
        return question
    if not question.is_aggregate:
        question = question.without(*[part for part in question.parts if part[0] in OF_RECORDS])
    text = ",".join(value for each, value in question.parts if each == name)
    return question.set(name, f"{text},{member}" if text else member)


def remove_member(question: Exploration, name: str, index: int) -> Exploration:
    """The question without a member of a list."""
    members = [encode_member(member) for member in question.values(name)]
    del members[index]
    return question.without(*[part for part in question.parts if part[0] == "sort"]).set(
        name, ",".join(members) or None
    )


def encode_member(member: str) -> str:
    """A member of a list as it stands in an address; the comma of a bin's width separates nothing."""
    return encode_value(member, several=member.startswith("bin("))
