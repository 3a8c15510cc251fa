"""Long lists in parts: a page shows some members, and leads to those before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from api.http.problems import parameter_problem

PARAMETER = "page"  # of the page's address; the API knows none, since it says everything at once
MEMBERS_SHOWN = 50


@dataclass(frozen=True)
class Slice:
    """Some members of a list, in its order."""

    members: Sequence[Any]
    total: int  # of the whole list
    first: int  # the place of the first member, from 1
    before: str | None  # the address of the members before
    after: str | None

    @property
    def last(self) -> int:
        """The place of the last member."""
        return self.first + len(self.members) - 1

    @property
    def is_whole(self) -> bool:
        """Whether there are no other members."""
        return len(self.members) == self.total


def cut(members: Sequence[Any], query_string: bytes, path: str) -> Slice:
    """The members that a page's address asks for; Problem where it names a part that there is not."""
    named, others = part_query(query_string)
    if len(named) > 1:
        raise parameter_problem("duplicate_parameter", PARAMETER, "is repeated")
    text = named[0] if named else "1"
    pages = max(ceil(len(members) / MEMBERS_SHOWN), 1)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= pages:
        raise parameter_problem("invalid_value", PARAMETER, f"must be a whole number from 1 to {pages}")

    def address_of(page: int) -> str | None:
        if not 1 <= page <= pages:
            return None
        query = "&".join([*others, *([f"{PARAMETER}={page}"] if page > 1 else [])])
        return path + (f"?{query}" if query else "")

    begin = (number - 1) * MEMBERS_SHOWN
    shown = members[begin : begin + MEMBERS_SHOWN]
    return Slice(shown, len(members), begin + 1, address_of(number - 1), address_of(number + 1))


def part_query(query_string: bytes) -> tuple[list[str], list[str]]:
    """Which parts of the list are named, and the other parameters as written, without empty ones of forms."""
    parts = [part.partition("=") for part in query_string.decode("ascii", "replace").split("&")]
    named = [value for name, _, value in parts if name == PARAMETER]
    return named, ["=".join((name, value)) for name, _, value in parts if name != PARAMETER and value]
