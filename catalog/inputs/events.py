"""The `input` of a dataset that is fed by pushed events."""

from __future__ import annotations

from dataclasses import replace

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.model.dataset import FileFormat, Input

EVENT_MODES = ("upsert", "append")
EVENT_KEYS = ("events", "mode", "nullValues", "orderBy")


def build_events_input(value: YamlMapping, common: Input, trail: YamlPath, findings: Findings) -> Input | None:
    """The input, whose raw records are JSON objects; None where it cannot be used."""
    usable = True
    if value["events"] is not True:
        findings.error(trail, "input.events: can only be true; leave it out where nothing is pushed")
        usable = False
    for key in value:
        if key not in EVENT_KEYS:
            findings.error(
                trail, f"input.{key}: says nothing where records are pushed; known are {', '.join(EVENT_KEYS)}"
            )
            usable = False
    if common.mode not in EVENT_MODES:
        findings.error(
            trail,
            f"input.mode: pushed records are never the whole dataset, so {common.mode!r} would delete all others;"
            f" choose one of {', '.join(EVENT_MODES)}",
        )
        usable = False
    return replace(common, kind="events", file_format=FileFormat(format="ndjson")) if usable else None
