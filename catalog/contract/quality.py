"""The quality rules of a dataset and of its properties -> gates. Record-level rules are build_property's business.

A rule that cannot be measured is an error where records are published, so that nobody relies on it in vain; where a
dataset has no input, it is a warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from open_data_contract_standard.model import DataQuality, SchemaObject

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlPath
from catalog.model.dataset import Gate, Property
from catalog.model.rule_text import OBJECT_WORDS, PLACEHOLDER, PROPERTY_WORDS, fill_placeholders
from catalog.sql.query import QueryTextError, parse_query

METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
# The arguments of each metric, beside its columns.
ARGUMENTS = {"missingValues": ("missingValues",), "invalidValues": ("validValues", "pattern")}
OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
# Word of the contract -> what it means here.
SEVERITIES = {"error": "error", "warning": "warning", "info": "warning"}
ROW_UNITS = frozenset({"", "rows", "row", "records", "count"})
PERCENT_UNITS = frozenset({"percent", "percentage", "%"})
# Postgres reads these otherwise than the engine of the record-level patterns, or can only try all possibilities.
FOREIGN_PATTERN = re.compile(r"\\[bBQECpPzhGKXR1-9]|\(\?[^:i]|(?<!^)\(\?i|\[\[[.=]|\*\*\*")


def build_gates(
    part: SchemaObject, trail: YamlPath, properties: dict[str, Property], findings: Findings, *, is_fed: bool
) -> Iterator[Gate]:
    """Every gate of a dataset, in the contract's order."""
    tell = findings.error if is_fed else findings.warning
    for number, rule in enumerate(part.quality or []):
        yield from GateReader(properties, findings, tell, None, (*trail, "quality", number)).read(rule)
    for index, child in enumerate(part.properties or []):
        if child.name not in properties:
            continue
        for number, rule in enumerate(child.quality or []):
            if not is_record_rule(rule):
                path = (*trail, "properties", index, "quality", number)
                yield from GateReader(properties, findings, tell, child.name, path).read(rule)


def is_record_rule(rule: DataQuality) -> bool:
    """Whether the rule rejects single records instead of holding back the load; one that only warns does neither."""
    metric = rule.metric or rule.rule
    if rule.mustBe != 0 or isinstance(rule.mustBe, bool) or read_severity(rule) == "warning":
        return False
    return metric == "nullValues" or (metric == "invalidValues" and bool((rule.arguments or {}).get("validValues")))


def read_severity(rule: DataQuality) -> str:
    """`error` or `warning`; a word of others counts as error."""
    return SEVERITIES.get((rule.severity or "error").lower(), "error")


@dataclass(frozen=True)
class GateReader:
    """Reads one quality rule."""

    properties: Mapping[str, Property]
    findings: Findings
    tell: Callable[[YamlPath, str], None]  # what cannot be measured
    property: str | None
    trail: YamlPath

    def read(self, rule: DataQuality) -> Iterator[Gate]:
        """The gate of the rule, where it can be measured."""
        kind = rule.type or ("sql" if rule.query else "library")
        if kind in {"text", "custom"}:
            return  # shown in the documentation; never counted as passed
        metric = rule.metric or rule.rule
        if kind == "library" and metric not in METRICS:
            self.findings.warning(
                (*self.trail, "metric"), f"{metric!r} is not supported; supported are {', '.join(METRICS)}"
            )
            return
        problem = self.check_query(rule.query or "") if kind == "sql" else self.check_metric(rule, str(metric))
        if problem is not None:
            if problem:
                self.tell(self.trail, problem)
            return
        operator = self.find_operator(rule)
        if operator is None:
            return
        if (rule.severity or "error").lower() not in SEVERITIES:
            self.findings.warning((*self.trail, "severity"), f"{rule.severity!r} is treated as error")
        gate = Gate(
            name=rule.name or "sql",
            kind="sql",
            metric=None,
            query=rule.query,
            property=self.property,
            operator=operator,
            bound=getattr(rule, operator),
            unit="percent" if (rule.unit or "").lower() in PERCENT_UNITS else "rows",
            severity=read_severity(rule),
            dimension=rule.dimension,
            description=rule.description,
            arguments=rule.arguments or {},
        )
        if kind == "library":
            name = rule.name or (f"{metric}({self.property})" if self.property else str(metric))
            gate = replace(gate, kind="metric", metric=metric, name=name)
        yield gate

    def find_operator(self, rule: DataQuality) -> str | None:
        """The comparison that the rule makes; None and an error where it makes none, or not with numbers."""
        given = [name for name in OPERATORS if getattr(rule, name) is not None]
        if len(given) != 1:
            self.findings.error(self.trail, f"needs exactly one comparison of {', '.join(OPERATORS)}")
            return None
        bound = getattr(rule, given[0])
        numbers = bound if isinstance(bound, list) else [bound]
        if not numbers or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            self.tell((*self.trail, given[0]), f"{bound!r} is not a number: rules compare with numbers only")
            return None
        if len(numbers) == 2 and numbers[0] > numbers[1]:
            self.findings.error((*self.trail, given[0]), f"{bound!r}: must have the smaller number first")
            return None
        return given[0]

    def check_query(self, query: str) -> str | None:
        """Why a rule's SQL cannot be run, or None; empty where that is said already."""
        for word in PLACEHOLDER.findall(query):
            if word in PROPERTY_WORDS and self.property is None:
                return f"{{{word}}} is the name of a property, but the rule belongs to the whole dataset"
            if word not in OBJECT_WORDS + PROPERTY_WORDS:
                return f"{{{word}}} is not known here; known are {{object}} and {{property}}"
        try:
            parse_query(fill_placeholders(query, "x", "x", "x"), deterministic=False)
        except QueryTextError as error:
            # Never only a warning where it may be meant to write.
            tell = self.findings.error if "one SELECT" in str(error) else self.tell
            tell((*self.trail, "query"), str(error))
            return ""
        return None

    def check_metric(self, rule: DataQuality, metric: str) -> str | None:
        """Why a metric of the library cannot be measured, or None; a warning for an unknown argument."""
        arguments = rule.arguments or {}
        unit = (rule.unit or "").lower()
        if unit not in ROW_UNITS | PERCENT_UNITS:
            return f"unit: {rule.unit!r} is not supported; supported are rows and percent"
        if metric == "rowCount":
            if unit in PERCENT_UNITS:
                return "unit: percent does not apply to the number of rows"
        elif not self.property and not arguments.get("properties"):
            return f"{metric} needs a property: move the rule to it, or name it in arguments.properties"
        known = ARGUMENTS.get(metric, ())
        for name in arguments:
            if name not in (*known, "properties"):
                does = f"{', '.join(known)} {'are' if known[1:] else 'is'}" if known else "nothing is"
                self.findings.warning(
                    (*self.trail, "arguments", name), f"{metric} is not told {name!r}: not applied; {does}"
                )
        return self.check_columns(metric, arguments) or self.check_arguments(metric, arguments)

    def check_columns(self, metric: str, arguments: Mapping[str, object]) -> str | None:
        """What is wrong with the properties that a metric names."""
        names = arguments.get("properties")
        if names is None:
            return None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            return "arguments.properties must be a list of names"
        if unknown := [name for name in names if name not in self.properties]:
            return f"arguments.properties: unknown property {', '.join(unknown)}"
        if metric not in {"duplicateValues", "rowCount"} and len(names) > 1:
            return f"{metric} needs exactly one property"
        return None

    def check_arguments(self, metric: str, arguments: Mapping[str, object]) -> str | None:
        """What is wrong with the values or the pattern of a metric."""
        for name in ("validValues", "missingValues"):
            values = arguments.get(name)
            if values is not None and name in ARGUMENTS.get(metric, ()) and not isinstance(values, list):
                return f"arguments.{name} must be a list"
        if metric != "invalidValues":
            return None
        pattern = arguments.get("pattern")
        if not arguments.get("validValues") and not pattern:
            return "invalidValues needs arguments: validValues or pattern"
        if pattern and (not isinstance(pattern, str) or FOREIGN_PATTERN.search(pattern)):
            return f"arguments.pattern: {pattern!r} cannot run in linear time, or differs in Postgres"
        return None
