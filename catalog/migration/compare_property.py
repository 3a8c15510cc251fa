"""What changed between two properties of one name, and which semver step each change demands. Pure.

A tightened rule is a breaking change, a loosened one is not: records that were good must stay good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from catalog.model.dataset import Property
from catalog.model.semantic_version import Step
from catalog.types.filter_operators import operators_of
from catalog.types.property_types import InvalidValueError, PropertyType

INTEGER_RANKS = {"smallint": 1, "integer": 2, "bigint": 3}
NUMERIC = re.compile(r"numeric\((\d+),\s*(\d+)\)")
CLASSIFICATION_RANKS = {"public": 0, "internal": 1, "confidential": 2, "restricted": 3}
BOUND_RULES = frozenset({"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"})
LOWER_COUNTS = frozenset({"minLength", "minItems"})
UPPER_COUNTS = frozenset({"maxLength", "maxItems"})

Difference = tuple[Step, str]


@dataclass(frozen=True)
class Bound:
    """The end of a range; `value` None is no end at all."""

    value: Any = None
    exclusive: bool = False


def compare_property(old: Property, new: Property) -> Iterator[Difference]:
    """Each difference that means something, words aside."""
    retyped = list(compare_types(old.type, new.type))
    yield from retyped
    if not any(step is Step.MAJOR for step, _ in retyped):
        yield from compare_rules(old, new)
        yield from compare_nested(old, new)
    yield from compare_flags(old, new)
    if old.column != new.column:
        yield (
            Step.PATCH,
            f"its column is {new.column!r} instead of {old.column!r}: the data of the old column is not moved",
        )
    if old.transform != new.transform:
        yield Step.PATCH, "has another transformLogic"
    ranks = [CLASSIFICATION_RANKS.get(prop.declared, 3) for prop in (old, new)]
    if ranks[0] != ranks[1]:
        step = Step.MAJOR if ranks[1] > ranks[0] else Step.MINOR
        yield step, f"is classified {new.declared} instead of {old.declared}"


def compare_flags(old: Property, new: Property) -> Iterator[Difference]:
    """What is required, unique, indexed, searchable or deprecated now and was not, or the other way."""
    for word, was, is_, harder, softer in (
        ("required", old.required, new.required, Step.MAJOR, Step.MINOR),
        ("unique", old.unique, new.unique, Step.MAJOR, Step.MINOR),
        ("indexed", old.indexed, new.indexed, Step.PATCH, Step.PATCH),
        ("searchable", old.searchable, new.searchable, Step.MINOR, Step.MAJOR),
        ("deprecated", old.deprecated, new.deprecated, Step.MINOR, Step.MINOR),
    ):
        if was != is_:
            yield (harder, f"is {word} now") if is_ else (softer, f"is no longer {word}")


def compare_types(old: PropertyType, new: PropertyType) -> Iterator[Difference]:
    """A type that changed: minor where each value of the old one is one of the new, and looks the same in the API."""
    if (old.postgres, old.json_schema["type"], operators_of(old)) == (
        new.postgres,
        new.json_schema["type"],
        operators_of(new),
    ):
        return
    change = f"becomes {new.postgres} (was {old.postgres})"
    if old.postgres == new.postgres:
        change = f"is served as {describe_schema(new.json_schema)} (was {describe_schema(old.json_schema)})"
    same = old.json_schema["type"] == new.json_schema["type"] and set(operators_of(old)) <= set(operators_of(new))
    yield (Step.MINOR if same and is_wider(old.postgres, new.postgres) else Step.MAJOR), change


def describe_schema(schema: Mapping[str, object]) -> str:
    """A JSON type in a word or two."""
    return " ".join(str(schema[key]) for key in ("type", "format") if key in schema)


def is_wider(old: str, new: str) -> bool:
    """Whether a Postgres type holds each value of another one, unchanged."""
    if old in INTEGER_RANKS and new in INTEGER_RANKS:
        return INTEGER_RANKS[old] <= INTEGER_RANKS[new]
    before, after = NUMERIC.fullmatch(old.lower()), NUMERIC.fullmatch(new.lower())
    if before and after:
        (digits, decimals), (more, finer) = map(int, before.groups()), map(int, after.groups())
        return finer >= decimals and more - finer >= digits - decimals
    return old == new


def compare_rules(old: Property, new: Property) -> Iterator[Difference]:
    """Record-level rules that were tightened or loosened."""
    before = {rule.name: rule.argument for rule in old.rules}
    after = {rule.name: rule.argument for rule in new.rules}
    for end in ("minimum", "maximum"):
        yield from compare_bounds(end, find_bound(end, before, old.type), find_bound(end, after, new.type))
    for name in [*after, *(name for name in before if name not in after)]:
        if name in BOUND_RULES or before.get(name) == after.get(name):
            continue
        if name not in before:
            # What holds of every value anyway tightens nothing.
            empty = (name in LOWER_COUNTS and after[name] == 0) or after[name] is False
            yield Step.PATCH if empty else Step.MAJOR, f"{name} {show(after[name])} is asked for"
        elif name not in after:
            yield Step.MINOR, f"{name} {show(before[name])} is no longer asked for"
        else:
            yield from compare_arguments(name, before[name], after[name], new.type)


def compare_arguments(name: str, old: Any, new: Any, kind: PropertyType) -> Iterator[Difference]:
    """One rule whose argument is another one now."""
    if name == "enum":
        was, is_ = ({str(parse_value(kind, item)) for item in items} for items in (old, new))
        gone = [str(item) for item in old if str(parse_value(kind, item)) not in is_]
        more = [str(item) for item in new if str(parse_value(kind, item)) not in was]
        if gone:
            yield Step.MAJOR, f"no longer allows {', '.join(gone[:10])}"
        if more:
            yield Step.MINOR, f"also allows {', '.join(more[:10])}"
        return
    looser = LOOSER.get(name, lambda _old, _new: False)(old, new)
    yield (Step.MINOR if looser else Step.MAJOR), f"{name} is {show(new)} instead of {show(old)}"


# Whether a rule with its new argument lets everything through that the old one did. A pattern cannot be compared.
LOOSER: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(LOWER_COUNTS, lambda old, new: new <= old),
    **dict.fromkeys(UPPER_COUNTS, lambda old, new: new >= old),
    "multipleOf": lambda old, new: Decimal(str(old)) % Decimal(str(new)) == 0,
    "uniqueItems": lambda _old, new: not new,
}


def find_bound(end: str, rules: Mapping[str, object], kind: PropertyType) -> Bound:
    """The stricter of the inclusive and the exclusive bound at one end; integers know only inclusive ones."""
    upper = end == "maximum"
    found = Bound()
    for name, exclusive in ((end, False), ("exclusive" + end.capitalize(), True)):
        if rules.get(name) is None:
            continue
        value = parse_value(kind, rules[name])
        bound = Bound(value, exclusive)
        if exclusive and isinstance(value, int):
            bound = Bound(value - 1 if upper else value + 1)
        if found.value is None or is_stricter(bound, found, upper=upper):
            found = bound
    return found


def is_stricter(bound: Bound, other: Bound, *, upper: bool) -> bool:
    """Whether a bound keeps out something that the other lets in."""
    if bound.value is None:
        return False
    if other.value is None:
        return True
    if bound.value == other.value:
        return bound.exclusive and not other.exclusive
    return bool(bound.value < other.value if upper else bound.value > other.value)


def compare_bounds(end: str, old: Bound, new: Bound) -> Iterator[Difference]:
    """One end of a range that moved."""
    if old == new:
        return
    step = Step.MAJOR if is_stricter(new, old, upper=end == "maximum") else Step.MINOR
    yield step, f"{end} is {show_bound(new)} instead of {show_bound(old)}"


def show_bound(bound: Bound) -> str:
    """A bound in words."""
    if bound.value is None:
        return "open"
    return f"{bound.value} (exclusive)" if bound.exclusive else str(bound.value)


def show(argument: object) -> str:
    """A rule's argument, short enough for one line."""
    text = ", ".join(map(str, argument)) if isinstance(argument, tuple | list) else str(argument)
    return text if len(text) <= 80 else text[:79] + "…"


def parse_value(kind: PropertyType, value: object) -> object:
    """A contract's value as one of the property's type; unchanged where it is none."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return kind.parse(text)
    except InvalidValueError:
        return text


def compare_nested(old: Property, new: Property, path: str = "") -> Iterator[Difference]:
    """What changed inside an object, the items of an array, or a map's keys and values; `path` leads there."""
    before, after = list_parts(old), list_parts(new)
    for name in {**after, **before}:
        place = f"{path}.{name}".replace(".[", "[").removeprefix(".")
        if name.startswith("[") and (name in before) != (name in after):
            # Without a description of what it holds, an array or a map holds anything.
            yield (
                (Step.MAJOR, f"{place} is described now")
                if name in after
                else (Step.MINOR, f"{place} allows any value")
            )
        elif name not in after:
            yield Step.MAJOR, f"{place} removed"
        elif name not in before:
            yield (Step.MAJOR if after[name].required else Step.MINOR), f"{place} added"
        else:
            was, is_ = before[name], after[name]
            found = [*compare_types(was.type, is_.type), *compare_rules(was, is_), *compare_flags(was, is_)]
            yield from ((step, f"{place} {message}") for step, message in found)
            yield from compare_nested(was, is_, place)


def list_parts(prop: Property) -> dict[str, Property]:
    """What a property holds, by name; items, keys and values are in brackets, which no name has."""
    parts = {child.name: child for child in prop.children}
    if prop.items is not None:
        parts["[]"] = prop.items
    if prop.entries is not None:
        parts["[key]"], parts["[value]"] = prop.entries
    return parts
