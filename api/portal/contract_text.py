"""Parts of a contract in words, and what two versions of one say differently. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Part = dict[str, Any]
BOUNDS = {
    "mustBe": "= {}",
    "mustNotBe": "≠ {}",
    "mustBeGreaterThan": "> {}",
    "mustBeGreaterOrEqualTo": "≥ {}",
    "mustBeLessThan": "< {}",
    "mustBeLessOrEqualTo": "≤ {}",
}
RANGES = {"mustBeBetween": "between {} and {}", "mustNotBeBetween": "not between {} and {}"}
COMPARED = ("logicalType", "physicalType", "required", "unique", "primaryKey", "classification")
OF_SERVERS = ("server", "type")  # stand apart from a server's other members


@dataclass(frozen=True)
class Rule:
    """A quality rule in words."""

    text: str
    description: str
    severity: str
    query: str | None


@dataclass(frozen=True)
class Difference:
    """One thing that a version says differently."""

    kind: str  # added, removed, changed
    place: str
    text: str


def rules_in(part: Part) -> list[Rule]:
    """The quality rules of a dataset or a property."""
    return [describe_rule(rule) for rule in part.get("quality") or [] if isinstance(rule, dict)]


def describe_rule(rule: Part) -> Rule:
    """What a rule measures, and the bound that it has to keep."""
    measured = rule.get("metric") or rule.get("rule") or rule.get("name") or rule.get("type") or "rule"
    bounds = [form.format(rule[name]) for name, form in BOUNDS.items() if name in rule]
    bounds += [form.format(*rule[name]) for name, form in RANGES.items() if is_pair(rule.get(name))]
    if rule.get("unit"):
        bounds.append(str(rule["unit"]))
    return Rule(
        " ".join([str(measured), *bounds]),
        str(rule.get("description") or ""),
        str(rule.get("severity") or "error"),
        str(rule["query"]).strip() if rule.get("query") else None,
    )


def is_pair(value: Any) -> bool:
    """Whether it is two bounds."""
    return isinstance(value, list) and len(value) == 2


def custom_in(part: Part) -> list[tuple[str, str]]:
    """The custom properties of a part: (name, value in words)."""
    return [
        (str(each.get("property")), write_value(each.get("value")))
        for each in part.get("customProperties") or []
        if isinstance(each, dict)
    ]


def write_value(value: Any) -> str:
    """A value of a contract in words; lists and members are separated by commas."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {write_value(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(write_value, value))
    return show(value)


def facts_in(part: Part, known: tuple[str, ...]) -> list[tuple[str, str]]:
    """The plain members of a part beside those that are `known`: (name, value in words)."""
    return [
        (name, write_value(value))
        for name, value in part.items()
        if name not in known and isinstance(value, str | int | float | bool)
    ]


def type_of(prop: Part) -> str:
    """The type of a property: the logical one, and the physical one where the contract has it."""
    return " · ".join(str(prop[name]) for name in ("logicalType", "physicalType") if prop.get(name))


def compare_documents(old: Part, new: Part) -> list[Difference]:
    """What the newer of two contracts adds, removes and changes: datasets, properties, roles, service levels."""
    found = list(compare_named("dataset", by_name(old.get("schema"), "name"), by_name(new.get("schema"), "name")))
    olds = by_name(old.get("schema"), "name")
    for name, part in by_name(new.get("schema"), "name").items():
        if name in olds:
            found += compare_properties(name, olds[name], part)
    found += compare_named("role", by_name(old.get("roles"), "role"), by_name(new.get("roles"), "role"))
    before, after = levels_of(old), levels_of(new)
    found += compare_named("service level", before, after)
    for name in before:
        if name in after and before[name] != after[name]:
            found.append(Difference("changed", f"service level {name}", f"{before[name]} → {after[name]}"))
    return found


def compare_properties(dataset: str, old: Part, new: Part) -> Iterator[Difference]:
    """What changed in the properties of a dataset."""
    before, after = by_name(old.get("properties"), "name"), by_name(new.get("properties"), "name")
    yield from compare_named("property", before, after, f"{dataset}.")
    for name in (name for name in after if name in before):
        for fact in COMPARED:
            was, now = before[name].get(fact), after[name].get(fact)
            if was != now:
                yield Difference("changed", f"property {dataset}.{name}", f"{fact}: {show(was)} → {show(now)}")
        was_rules = [rule.text for rule in rules_in(before[name])]
        now_rules = [rule.text for rule in rules_in(after[name])]
        limits = before[name].get("logicalTypeOptions"), after[name].get("logicalTypeOptions")
        if was_rules != now_rules or limits[0] != limits[1]:
            yield Difference("changed", f"property {dataset}.{name}", "other rules")


def compare_named(kind: str, before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> Iterator[Difference]:
    """What came and what went."""
    yield from (Difference("added", f"{kind} {prefix}{name}", "") for name in after if name not in before)
    yield from (Difference("removed", f"{kind} {prefix}{name}", "") for name in before if name not in after)


def by_name(parts: Any, key: str) -> dict[str, Part]:
    """Parts of a contract by their name."""
    return {str(part[key]): part for part in parts or [] if isinstance(part, dict) and part.get(key)}


def levels_of(document: Part) -> dict[str, str]:
    """The service levels of a contract, by name and element: the value with its unit."""
    return {
        " ".join(filter(None, (str(level.get("property")), level.get("element")))): " ".join(
            str(level[name]) for name in ("value", "unit") if level.get(name) is not None
        )
        for level in document.get("slaProperties") or []
        if isinstance(level, dict)
    }


def show(value: Any) -> str:
    """A value of a contract, or that it has none."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
