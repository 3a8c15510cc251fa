"""The custom properties that mean something here."""

from __future__ import annotations

import difflib
import re
from typing import Any

from open_data_contract_standard.model import (
    CustomProperty,
    SchemaProperty,
)

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from runtime.near_misses import find_near

GRANTED = re.compile(r"[A-Za-z0-9._-]+(@[0-9]+)?")  # a product, or one major of it
OTHERS = "Properties of other tools need a vendor, or a name such as vendor:name"
# Where a custom property means something -> what it may be called there.
CUSTOM_PROPERTIES: dict[str, tuple[str, ...]] = {
    "contract": ("grants",),
    "server": ("url", "user", "password", "kind", "token", "tls", "mechanism", "ca", "registry"),
    "dataset": (
        "input",
        "maxRejected",
        "maxDeleted",
        "minRecords",
        "unknownColumns",
        "searchLanguage",
        "trim",
        "partitions",
    ),
    "property": ("indexed", "searchable", "masking", "declassified", "trim"),
    "relationship": ("enforced",),
    "support channel": ("notify",),
    "role": ("anonymous", "rows", "rateLimit"),
}


def read_custom_properties(
    custom_properties: list[CustomProperty] | None, trail: YamlPath, findings: Findings, owner: str
) -> YamlMapping:
    """The custom properties of a part by name; a finding for whatever might have meant one of ours and does not.

    What belongs to another tool says so, by its `vendor` or a name such as vendor:name. On a role all else is an
    error: a limit that is not understood would open what it was to keep closed.
    """
    values: YamlMapping = {}
    for index, custom in enumerate(custom_properties or []):
        name = custom.property or ""
        where = (*trail, index, "property")
        if custom.vendor or ":" in name.strip(":"):
            continue
        if name in CUSTOM_PROPERTIES[owner]:
            if name in values:
                findings.error(where, f"{name!r} is repeated")
            values[name] = custom.value
            continue
        check_unknown_name(name, where, findings, owner)
    return values


def read_grants(custom_properties: YamlMapping, trail: YamlPath, findings: Findings) -> tuple[str, ...]:
    """The products whose SQL may read this product's datasets."""
    value = custom_properties.get("grants")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and GRANTED.fullmatch(name) for name in value):
        findings.error(trail, f"grants: {value!r} is not a list of products such as [reports, sales@2]")
        return ()
    return tuple(map(str, value))


def read_declassified(custom_properties: YamlMapping, trail: YamlPath, findings: Findings) -> str | None:
    """Why a derived property inherits no classification."""
    value = custom_properties.get("declassified")
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        findings.error(trail, "declassified: must be a text that gives the reason")
        return None
    return value.strip()


def check_unknown_name(name: str, where: YamlPath, findings: Findings, owner: str) -> None:
    """A finding for the name of a custom property that has no meaning at its place, unless it is far from ours."""
    if near := find_near(name, CUSTOM_PROPERTIES[owner]):
        findings.error(where, f"unknown custom property {name!r}; did you mean {near!r}? {OTHERS}")
    elif owner == "role":
        known = ", ".join(CUSTOM_PROPERTIES[owner])
        findings.error(where, f"unknown custom property {name!r} of a role; known are {known}. {OTHERS}")
    elif owners := [other for other, names in CUSTOM_PROPERTIES.items() if name in names]:
        findings.warning(where, f"{name!r} has no effect on a {owner}, only on a {' or a '.join(owners)}")


def read_share(value: YamlNode, default: float, name: str, trail: YamlPath, findings: Findings) -> float:
    """A share from 0 to 1, written as a number of percent or as '10 %'."""
    if value is None:
        return default
    text = str(value).strip().removesuffix("%").strip()
    try:
        share = float(text) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        findings.error((*trail, "customProperties"), f"{name}: {value!r} is not a percentage from 0 to 100")
        return default
    return share


def read_least(value: YamlNode, trail: YamlPath, findings: Findings) -> int | None:
    """A least number of records; None where none is given."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    findings.error((*trail, "customProperties"), f"minRecords: {value!r} is not an integer of at least 0")
    return None


def check_keys(part: SchemaProperty, trail: YamlPath, findings: Findings) -> None:
    """Errors for keys that a property does not have: the standard's schema lets them pass.

    Warnings in contracts of v3.0, which allowed them.
    """
    raw: Any = findings.document.data
    tell = findings.warning if str(raw["apiVersion"]).startswith("v3.0.") else findings.error
    for step in trail:
        raw = raw[step]
    known = set(type(part).model_fields)
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            tell(trail, f"unknown field {str(key)!r} of a property{hint}")
