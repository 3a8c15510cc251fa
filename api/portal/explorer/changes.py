"""What a form adds to a question: each part of the form becomes a parameter of the API. Pure."""

from __future__ import annotations

from api.portal.explorer.question import Exploration, encode_value
from catalog.types.filter_operators import OPERATORS

SEVERAL = frozenset(operator.key for operator in OPERATORS if operator.several)
QUESTION = "question"  # the question that the form adds to, as one text: fields would lose which commas separate
FORM = ("add_property", "add_operator", "add_value", "add_group", "add_bucket", "add_measure", "add_of")


def apply_form(question: Exploration) -> Exploration:
    """The question with what the form says, and without the form's own parameters."""
    given = {name: question.value(name) or "" for name in FORM}
    found = Exploration(tuple(part for part in question.parts if part[0] not in (*FORM, QUESTION)))
    if before := question.value(QUESTION):
        found = Exploration.read(before)
    if given["add_property"] and given["add_value"]:
        operator = given["add_operator"] or "eq"
        name = given["add_property"] if operator == "eq" else f"{given['add_property']}[{operator}]"
        found = found.add(name, encode_value(given["add_value"], several=operator in SEVERAL))
    if given["add_group"]:
        bucket, prop = given["add_bucket"], encode_value(given["add_group"])
        if bucket.replace(".", "", 1).isdigit():
            prop = f"bin({prop},{bucket})"
        elif bucket:
            prop = f"{bucket}({prop})"
        found = add_member(found, "group_by", prop)
    if given["add_measure"]:
        of = given["add_of"]
        if of or given["add_measure"] == "count":
            found = add_member(found, "measure", given["add_measure"] + (f":{encode_value(of)}" if of else ""))
    return found


def add_member(question: Exploration, name: str, member: str) -> Exploration:
    """The question with one more member of a list; what it has already is not added again."""
    members = [value for each, value in question.parts if each == name]
    text = ",".join(members)
    if member in text.split(","):
        return question
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
