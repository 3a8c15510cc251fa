"""The query string of a dataset -> RecordQuery, or a problem that names the parameter. Pure.

One validator is compiled per view of a dataset; it knows every parameter, so that one which it does not know is
refused, with the closest one that it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.http.problems import Problem, closest, parameter_problem
from api.http.query_string import decode_part, split_list, split_names, split_parameters
from api.query.condition import SEARCH, Filter
from catalog.model.dataset import Dataset, Property
from catalog.types.filter_operators import EQUAL, OPERATORS, PATTERN_MAXIMUM_CHARACTERS, Operator
from catalog.types.value_parsers import InvalidValueError, TooManyValuesError, parse_timestamp

LIMIT_DEFAULT = 100
LIMIT_MAXIMUM = 1000
FILTERS_MAXIMUM = 20
REVISION_DIGITS = 18
EPOCH = re.compile(r"[0-9a-f]{8}")
RESERVED = ("limit", "sort", "properties", "cursor", "at", "epoch", "count", "expand", "q")
# Parameters of other questions about a dataset: a filter means the same in all of them.
KEPT_FREE = ("since", "until", "format", "group_by", "measure", "timezone")
COUNTS = ("exact", "estimated")


@dataclass(frozen=True)
class RecordQuery:
    """What a request for records asks for."""

    filters: tuple[Filter, ...] = ()
    values: tuple[object, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()  # (property, descending)
    properties: tuple[str, ...] | None = None
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None
    at: int | datetime | None = None
    epoch: str | None = None
    count: str | None = None
    expand: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListReader:
    """The reader of a parameter that is a list: its members separated by commas, or the parameter repeated."""

    read: Callable[[str, list[str], Draft], None]


Reader = Callable[[str, str, "Draft"], None] | ListReader


class Draft:
    """A query while its parameters are read."""

    def __init__(self) -> None:
        self.conditions: list[tuple[Filter, object]] = []
        self.facts: dict[str, Any] = {}

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters, without their values."""
        return tuple(condition for condition, _ in self.conditions)

    @property
    def values(self) -> tuple[object, ...]:
        """The filters' values."""
        return tuple(value for _, value in self.conditions)


class Validator:
    """Reads the query strings of one dataset, as one caller may see it."""

    def __init__(
        self,
        dataset: Dataset,
        hidden: frozenset[str] = frozenset(),
        closed: frozenset[str] = frozenset(),
        expandable: tuple[str, ...] = (),
    ) -> None:
        # What can be chosen, and what can be asked about: a masked property is shown as null, and told nothing of.
        self.visible = {name: p for name, p in dataset.properties.items() if name not in hidden}
        self.usable = {name: p for name, p in self.visible.items() if name not in closed}
        self.expandable = expandable
        self.readers: dict[str, Reader] = {
            "limit": read_limit,
            "sort": ListReader(self.read_sort),
            "properties": ListReader(self.read_properties),
            "cursor": read_cursor,
            "at": read_at,
            "epoch": read_epoch,
            "count": read_count,
        }
        if expandable:
            self.readers["expand"] = ListReader(self.read_expand)
        # A search over hidden properties would reveal them.
        if dataset.searched and all(name in self.usable for name in dataset.searched):
            self.readers["q"] = read_search
        for prop in self.usable.values():
            for operator in OPERATORS:
                if operator.applies(prop.type):
                    self.readers[f"{prop.name}[{operator.key}]"] = filter_reader(prop, operator)
            if prop.name not in RESERVED and prop.name not in KEPT_FREE and EQUAL.applies(prop.type):
                self.readers[prop.name] = filter_reader(prop, EQUAL)

    def parse(self, query_string: bytes, allowed: tuple[str, ...] | None = None) -> RecordQuery:
        """The query that a raw query string asks for; Problem for the first parameter that is wrong.

        With `allowed`, only these parameters are known.
        """
        readers = self.readers
        if allowed is not None:
            readers = {name: reader for name, reader in readers.items() if name in allowed}
        draft = read_draft(query_string, readers)
        return RecordQuery(draft.filters, draft.values, **draft.facts)

    def filter_readers(self) -> dict[str, Reader]:
        """What reads the filters, and a text search; for other questions about the same records."""
        return {name: r for name, r in self.readers.items() if name == "q" or name not in RESERVED}

    def read_sort(self, name: str, members: list[str], draft: Draft) -> None:
        """`-distance,carrier`: by distance, descending, then by carrier."""
        order: list[tuple[str, bool]] = []
        for part in split_names(members, self.usable):
            prop = self.find(name, part.removeprefix("-"))
            if not prop.type.ordered:
                raise parameter_problem("invalid_value", name, f"{prop.name} cannot be sorted")
            if prop.name in {other for other, _ in order}:
                raise parameter_problem("duplicate_parameter", name, f"{prop.name} is repeated")
            order.append((prop.name, part.startswith("-")))
        draft.facts["sort"] = tuple(order)

    def read_properties(self, name: str, members: list[str], draft: Draft) -> None:
        """`carrier,distance`: only these, in the contract's order."""
        wanted = {find_property(name, part, self.visible).name for part in split_names(members, self.visible)}
        draft.facts["properties"] = tuple(known for known in self.visible if known in wanted)

    def read_expand(self, name: str, members: list[str], draft: Draft) -> None:
        """`carrier,origin`: the related records to embed."""
        wanted = set()
        for part in split_names(members, self.expandable):
            if part not in self.expandable:
                near = closest(part, self.expandable) or self.expandable
                raise parameter_problem("invalid_value", name, f"{part!r} is not a relationship", near)
            wanted.add(part)
        draft.facts["expand"] = tuple(known for known in self.expandable if known in wanted)

    def find(self, parameter: str, name: str) -> Property:
        """The property of that name that can be asked about; a problem with the closest one otherwise."""
        return find_property(parameter, name, self.usable)


def find_property(parameter: str, name: str, known: Mapping[str, Property]) -> Property:
    """The property of that name; a problem with the closest one otherwise."""
    prop = known.get(name)
    if prop is None:
        raise parameter_problem("unknown_parameter", parameter, f"unknown property {name!r}", closest(name, known))
    return prop


def read_draft(query_string: bytes, readers: Mapping[str, Reader]) -> Draft:
    """What the parameters of a raw query string say; Problem for the first that is wrong or that no reader knows."""
    draft = Draft()
    given: dict[str, list[bytes]] = {}
    for name, raw in split_parameters(query_string):
        if name not in readers:
            # Who wrote no operator meant a name, not another operator of it.
            known = [other for other in readers if "[" in name or "[" not in other]
            raise parameter_problem("unknown_parameter", name, "unknown parameter", closest(name, known))
        given.setdefault(name, []).append(raw)
    for name, raws in given.items():
        reader = readers[name]
        if isinstance(reader, ListReader):
            reader.read(name, [member for raw in raws for member in split_list(raw)], draft)
        elif len(raws) > 1:
            raise parameter_problem("duplicate_parameter", name, "is repeated")
        else:
            reader(name, decode_part(raws[0]), draft)
    if len(draft.conditions) > FILTERS_MAXIMUM:
        raise Problem("query_too_complex", f"A query has at most {FILTERS_MAXIMUM} filters.")
    # In one order, whatever the caller's: the same question is one statement and one cache entry.
    draft.conditions.sort(key=lambda pair: (pair[0].property, pair[0].operator))
    return draft


def read_limit(name: str, value: str, draft: Draft) -> None:
    """Records per page."""
    if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= LIMIT_MAXIMUM):
        raise parameter_problem("limit_out_of_range", name, f"must be an integer from 1 to {LIMIT_MAXIMUM}")
    draft.facts["limit"] = int(value)


def read_cursor(_name: str, value: str, draft: Draft) -> None:
    """The continuation of a walk; checked where the secret is known."""
    draft.facts["cursor"] = value


def read_at(name: str, value: str, draft: Draft) -> None:
    """Digits are a revision, anything else is a moment."""
    if value.isascii() and value.isdigit() and len(value) <= REVISION_DIGITS:
        draft.facts["at"] = int(value)
        return
    try:
        draft.facts["at"] = parse_timestamp(value)
    except InvalidValueError as error:
        raise parameter_problem(
            "invalid_value", name, f"expected a revision such as 42, or a time: {error}"
        ) from None


def read_epoch(name: str, value: str, draft: Draft) -> None:
    """The epoch in which the revisions count that the caller names."""
    if not EPOCH.fullmatch(value):
        raise parameter_problem("invalid_value", name, "expected the value of a Decant-Epoch header")
    draft.facts["epoch"] = value


def read_count(name: str, value: str, draft: Draft) -> None:
    """Whether a total is wanted, and how exact."""
    if value not in COUNTS:
        raise parameter_problem("invalid_value", name, "must be exact or estimated", COUNTS)
    draft.facts["count"] = value


def read_search(name: str, value: str, draft: Draft) -> None:
    """Words to search for, as people write them into search fields."""
    if len(value) > PATTERN_MAXIMUM_CHARACTERS:
        raise Problem("query_too_complex", f"A search has at most {PATTERN_MAXIMUM_CHARACTERS} characters.")
    if not value.strip():
        raise parameter_problem("invalid_value", name, "is empty")
    draft.conditions.append((Filter("", SEARCH), value))


def filter_reader(prop: Property, operator: Operator) -> Reader:
    """The reader of one filter parameter."""

    def take(name: str, members: list[str], draft: Draft) -> None:
        try:
            draft.conditions.append((Filter(prop.name, operator.key), operator.parse(prop.type, members)))
        except InvalidValueError as error:
            raise parameter_problem("invalid_value", name, str(error)) from None
        except TooManyValuesError as error:
            raise Problem("query_too_complex", str(error)) from None

    if operator.several:
        return ListReader(take)
    return lambda name, value, draft: take(name, [value], draft)
