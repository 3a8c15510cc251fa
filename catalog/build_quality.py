"""The quality rules of a dataset and of its properties -> gates. Record-level rules are build_property's business."""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from open_data_contract_standard.model import DataQuality, SchemaObject
from sqlglot import expressions as exp

from catalog.dataset import Gate, Property
from catalog.document import Findings, Trail

METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
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
SEVERITIES = ("error", "warning")


def build_gates(
    part: SchemaObject, trail: Trail, properties: dict[str, Property], findings: Findings
) -> Iterator[Gate]:
    """Every gate of a dataset, in the contract's order."""
    for number, rule in enumerate(part.quality or []):
        yield from read_rule(rule, None, (*trail, "quality", number), findings)
    for index, child in enumerate(part.properties or []):
        if child.name not in properties:
            continue
        for number, rule in enumerate(child.quality or []):
            if not is_record_rule(rule):
                yield from read_rule(rule, child.name, (*trail, "properties", index, "quality", number), findings)


def is_record_rule(rule: DataQuality) -> bool:
    """Whether the rule rejects single records instead of holding back the load."""
    metric = rule.metric or rule.rule
    if rule.mustBe != 0:
        return False
    return metric == "nullValues" or (metric == "invalidValues" and bool((rule.arguments or {}).get("validValues")))


def read_rule(rule: DataQuality, prop: str | None, trail: Trail, findings: Findings) -> Iterator[Gate]:
    """The gate of one rule, where it can be measured."""
    kind = rule.type or ("sql" if rule.query else "library")
    if kind in {"text", "custom"}:
        return  # shown in the documentation; never counted as passed
    metric = rule.metric or rule.rule
    if kind == "library" and metric not in METRICS:
        findings.warning((*trail, "metric"), f"{metric!r} is not measured; {', '.join(METRICS)} are")
        return
    if kind == "sql" and not is_one_query(rule.query or ""):
        findings.error((*trail, "query"), "must be one SELECT")
        return
    bounds = [(name, getattr(rule, name)) for name in OPERATORS if getattr(rule, name) is not None]
    if len(bounds) != 1:
        findings.error(trail, f"needs exactly one comparison of {', '.join(OPERATORS)}")
        return
    severity = rule.severity or "error"
    if severity not in SEVERITIES:
        findings.warning((*trail, "severity"), f"{severity!r} is treated as error")
        severity = "error"
    yield Gate(
        name=rule.name or (f"{metric}({prop})" if prop else str(metric)) if kind == "library" else rule.name or "sql",
        kind="metric" if kind == "library" else "sql",
        metric=metric if kind == "library" else None,
        query=rule.query,
        property=prop,
        operator=bounds[0][0],
        bound=bounds[0][1],
        unit="percent" if (rule.unit or "").lower() in {"percent", "%"} else "rows",
        severity=severity,
        dimension=rule.dimension,
        description=rule.description,
        arguments=rule.arguments or {},
    )


def is_one_query(query: str) -> bool:
    """Whether the text is one SELECT and nothing else."""
    text = query.replace("{object}", "t").replace("{property}", "p").replace("$t", "t").replace("$p", "p")
    try:
        parsed = sqlglot.parse(text, dialect="postgres")
    except sqlglot.errors.SqlglotError:
        return False
    return (
        len(parsed) == 1
        and isinstance(parsed[0], exp.Query)
        and not parsed[0].find(exp.DML, exp.DDL, exp.Command, exp.Into)
    )
