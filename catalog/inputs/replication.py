"""The `input` of a dataset that the changes of a Postgres table feed, by logical replication."""

from __future__ import annotations

import re
from dataclasses import replace

from open_data_contract_standard.model import Server

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.database import build_database_input
from catalog.inputs.incremental import count_errors
from catalog.inputs.permits import Permits
from catalog.inputs.stream import read_limits
from catalog.model.dataset import Input
from catalog.model.sources import DatabaseSource, ReplicationSource

REPLICATION_KEYS = ("replication", "batch")
KNOWN = ("publication", "slot", "keepGb")
POSTGRES = ("postgresql", "postgres")
SLOT = re.compile(r"[a-z0-9_]{1,63}")  # as Postgres has it
PUBLICATION = re.compile(r"[^\s\x00\"',\\][^\x00\"',\\]{0,62}")
LEAST_GB, MOST_GB = 0.01, 100_000


def build_read_or_replicated(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input of a database: read as a whole or in part at each load, or by its changes; None if unusable."""
    if "replication" in value:
        return build_replication_input(value, common, server, trail, findings, permits)
    return build_database_input(value, common, server, trail, findings, permits)


def build_replication_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input; None where it cannot be used. Variables stay as they are written until the moment of reading."""
    errors = count_errors(findings)
    if server.type not in POSTGRES:
        findings.error(trail, f"input.replication: needs a server of type postgresql, not {server.type}")
    if common.mode != "upsert":
        findings.error(trail, f"input.mode: {common.mode!r} does not fit replication, which needs upsert")
    for key in ("sql", "incremental"):
        if key in value:
            findings.error(trail, f"input.{key}: does not go with replication, which reads the changes of a table")
    publication, slot, keep_gb = read_replication(value.get("replication"), trail, findings)
    batch = read_limits(value.get("batch"), trail, findings)
    if count_errors(findings) > errors:
        return None
    read = {key: each for key, each in value.items() if key not in REPLICATION_KEYS}
    found = build_database_input(read, common, server, trail, findings, permits)
    if found is None or not isinstance(found.source, DatabaseSource) or count_errors(findings) > errors:
        return None
    source = ReplicationSource(found.source, publication, slot, keep_gb, batch)
    return replace(found, kind="replication", source=source, watch=True)


def read_replication(value: YamlNode, trail: YamlPath, findings: Findings) -> tuple[str, str, float]:
    """Publication, slot, and how much of the log the slot may keep."""
    if not isinstance(value, dict):
        findings.error(trail, "input.replication: must be a mapping such as {publication: decant, slot: orders}")
        return "", "", 0
    for key in value:
        if key not in KNOWN:
            findings.error(trail, f"input.replication.{key}: unknown; known are {', '.join(KNOWN)}")
    publication, slot = value.get("publication"), value.get("slot")
    if not isinstance(publication, str) or not PUBLICATION.fullmatch(publication):
        findings.error(trail, "input.replication.publication: must be the name of a publication")
    if not isinstance(slot, str) or not SLOT.fullmatch(slot):
        findings.error(
            trail, "input.replication.slot: must be the name of a slot: up to 63 small letters, digits and _"
        )
    keep_gb = value.get("keepGb", ReplicationSource.keep_gb)
    if isinstance(keep_gb, bool) or not isinstance(keep_gb, int | float) or not LEAST_GB <= keep_gb <= MOST_GB:
        findings.error(trail, f"input.replication.keepGb: must be a number from {LEAST_GB} to {MOST_GB:,}")
        keep_gb = ReplicationSource.keep_gb
    return str(publication), str(slot), float(keep_gb)
