"""Contract keys shared by network inputs: incremental loading, time limits, secrets."""

from __future__ import annotations

import math
import re

from catalog.document.findings import Findings
from catalog.document.names import is_one_of
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.variables import VARIABLE
from catalog.model.dataset import Property
from catalog.model.sources import WATERMARK_FORMATS, Incremental
from catalog.types.property_types import InvalidValueError

MARKED_TYPES = ("timestamp", "date", "integer", "number", "string")  # what has a highest value to go on from
TIMESTAMPS = ("timestamp", "date")
SPAN = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[smhd]?)")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
SECRET_NAME = re.compile(
    r"auth(?!or(?!i[sz]))|token|secret|passw|api[-_]?key|^key$|cookie|credential|signature", re.IGNORECASE
)


def build_incremental(
    value: YamlNode,
    target_key: str,
    mode: str,
    properties: dict[str, Property],
    trail: YamlPath,
    findings: Findings,
) -> Incremental | None:
    """How news only are asked for; None where that is not asked, or cannot be done.

    `target_key` is what the contract calls the parameter or the column.
    """
    if value is None:
        return None
    known = ("property", target_key, "lag", "format", "start")
    if not isinstance(value, dict) or any(key not in known for key in value):
        findings.error(trail, f"input.incremental: must be a mapping of {', '.join(known)}")
        return None
    target = value.get(target_key)
    name = value.get("property", target if target_key == "column" else None)
    if not isinstance(target, str) or not target:
        findings.error(trail, f"input.incremental.{target_key}: must be a name")
        return None
    if mode == "snapshot":
        findings.error(
            trail, "input.incremental: mode must be upsert or append, since a snapshot would delete all other records"
        )
    prop = find_marked(name, properties, trail, findings)
    if prop is None:
        return None
    kind = prop.logical_type
    written = value.get("format")
    if written is not None and (written not in WATERMARK_FORMATS or kind not in TIMESTAMPS):
        findings.error(
            trail,
            f"input.incremental.format: must be one of {', '.join(WATERMARK_FORMATS)}, for dates and times only",
        )
        return None
    lag = read_lag(value.get("lag", 0), kind, trail, findings)
    if lag is None:
        return None
    start = None if value.get("start") is None else str(value["start"])
    if start is not None and target_key == "column" and written is None:
        try:
            prop.type.parse(start)
        except InvalidValueError:
            findings.error(trail, f"input.incremental.start: {start!r} is not a {kind}, the type of {name}")
            return None
    return Incremental(str(name), target, lag, written, start)


def find_marked(
    name: YamlNode, properties: dict[str, Property], trail: YamlPath, findings: Findings
) -> Property | None:
    """The property whose highest value is gone on from; None where there is none that has such a value."""
    if not is_one_of(name, properties):
        findings.error(trail, f"input.incremental.property: unknown property {name!r}")
        return None
    kind = properties[name].logical_type
    if kind not in MARKED_TYPES:
        findings.error(
            trail, f"input.incremental.property: {name} is of type {kind}; it can be {', '.join(MARKED_TYPES)}"
        )
        return None
    return properties[name]


def read_lag(value: YamlNode, kind: str, trail: YamlPath, findings: Findings) -> float | None:
    """How far before the mark is asked again, in seconds or in what the property counts; None where it is no such."""
    lag = read_span(value, plain=kind not in TIMESTAMPS)
    if lag is None or (lag and kind == "string"):
        what = (
            "a duration such as 1h" if kind in TIMESTAMPS else "a number" if kind != "string" else "left out for text"
        )
        findings.error(trail, f"input.incremental.lag: must be {what}")
        return None
    return lag


def read_span(value: YamlNode, *, plain: bool = False) -> float | None:
    """A length of time in seconds, from a number of them or from such as 90s, 15m, 1h or 2d; None for all else.

    `plain`: a number of anything, with no unit.
    """
    match = SPAN.fullmatch(str(value).strip()) if isinstance(value, str | int | float) else None
    if match is None or isinstance(value, bool) or (plain and match["unit"]):
        return None
    span = float(match["number"]) * SECONDS[match["unit"]]
    return span if math.isfinite(span) else None


def read_timeout(value: YamlMapping, default: float, trail: YamlPath, findings: Findings) -> float:
    """The seconds that something may take."""
    if "timeout" not in value:
        return default
    seconds = read_span(value["timeout"])
    if seconds is None or not 1 <= seconds <= 86400:
        findings.error(trail, "input.timeout: must be from one second to one day, such as 30 or 5m")
        return default
    return seconds


def check_secret(name: str, text: str, key: str, trail: YamlPath, findings: Findings) -> None:
    """An error where the contract itself contains something that is secret by its name."""
    if SECRET_NAME.search(name) and text and not VARIABLE.search(text):
        findings.error(
            trail, f"input.{key}: {name} looks like a secret; use ${{VARIABLE}} and set the environment variable"
        )


def count_errors(findings: Findings) -> int:
    """How many errors were found up to now."""
    return sum(finding.severity == "error" for finding in findings.found)
