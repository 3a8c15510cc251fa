"""The `input` of a dataset that is fed by pushed events."""

from __future__ import annotations

from dataclasses import replace

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.model.dataset import FileFormat, Input

EVENT_MODES = ("upsert", "append")
EVENT_KEYS = ("events", "mode", "nullValues", "orderBy", "deletes")


def build_events_input(value: YamlMapping, common: Input, trail: YamlPath, findings: Findings) -> Input | None:
    """The input, whose raw records are JSON objects; None where it cannot be used."""
    usable = True
    if value["events"] is not True:
        findings.error(trail, "input.events: must be true; leave it out if no records are pushed")
        usable = False
    for key in value:
        if key not in EVENT_KEYS:
            findings.error(trail, f"input.{key}: does not apply to pushed records; known are {', '.join(EVENT_KEYS)}")
            usable = False
    if common.mode not in EVENT_MODES:
        findings.error(
            trail,
            f"input.mode: {common.mode!r} would delete all records that are not pushed again; choose"
            f" one of {', '.join(EVENT_MODES)}",
        )
        usable = False
    return replace(common, kind="events", file_format=FileFormat(format="ndjson")) if usable else None
