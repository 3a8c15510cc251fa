"""The `input` of a dataset that objects of an S3-compatible store feed."""

from __future__ import annotations

import re
from dataclasses import replace

from open_data_contract_standard.model import Server

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.inputs.file import read_watch
from catalog.inputs.file_format import build_file_format, check_variables
from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE, expand_variables
from catalog.model.dataset import Input
from catalog.model.sources import BucketSource
from runtime.bucket_location import MAGIC

LOCATION = re.compile(r"s3://(?P<bucket>[^/]+)/?(?P<key>.*)")


def build_bucket_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input; None where it cannot be used. Variables stay as they are written until the moment of reading."""
    location = LOCATION.fullmatch(str(server.location or ""))
    if location is None:
        findings.error(trail, f"input.server: location {server.location!r} is not of the form s3://bucket/folder")
        return None
    path = value.get("path")
    if path is not None and (not isinstance(path, str) or not path):
        findings.error(trail, "input.path: must be the object's path below the server's location")
        return None
    folder, pattern = location["key"], path
    if pattern is None:
        # The standard's own examples have the pattern in the location.
        folder, _, pattern = location["key"].rpartition("/")
        if found := MAGIC.search(folder):
            kept = folder[: found.start()].rpartition("/")[0]
            folder, pattern = kept, location["key"].removeprefix(kept).lstrip("/")
    if not pattern:
        findings.error(trail, "input.path: must be set to the object's path below the server's location")
        return None
    if MAGIC.search(folder):
        findings.error(trail, "input.path: must not be set, since the server's location contains a pattern")
        return None
    if server.endpointUrl and not VARIABLE.match(server.endpointUrl) and "://" not in server.endpointUrl:
        findings.error(trail, f"input.server: endpointUrl {server.endpointUrl!r} is not of the form https://host")
        return None
    file_format = build_file_format(value | {"path": pattern}, server, trail, findings)
    watch = read_watch(value, trail, findings)
    if file_format is None or watch is None:
        return None
    source = BucketSource(location["bucket"], folder.strip("/"), server.endpointUrl)
    check_variables(source.filled, permits, trail, findings)
    check_location(source, pattern, permits, trail, findings)
    return replace(common, kind="bucket", file_format=file_format, path=pattern, source=source, watch=watch)


def check_location(source: BucketSource, path: str, permits: Permits, trail: YamlPath, findings: Findings) -> None:
    """An error for objects that may not be read, as far as the variables that are set here say."""
    missing: list[str] = []

    def expand(text: str) -> str:
        filled, problems = expand_variables(text, permits)
        missing.extend(problems)
        return filled

    problem = permits.refuse_bucket(source, path, expand)
    # Half an address is none: the whole one is checked when it is read.
    if problem and not missing:
        findings.error(trail, f"input.server: {problem}")
