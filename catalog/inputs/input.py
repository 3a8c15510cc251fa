"""The `input` custom property -> Input, with its server's path filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from open_data_contract_standard.model import OpenDataContractStandard, Server

from catalog.document.findings import Findings
from catalog.document.names import is_one_of
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.bucket import build_bucket_input
from catalog.inputs.database import DATABASE_KEYS, DRIVERS
from catalog.inputs.deletions import build_deletions, check_deletions
from catalog.inputs.events import build_events_input
from catalog.inputs.file import build_file_input
from catalog.inputs.http import HTTP_KEYS, build_http_input
from catalog.inputs.incremental import build_incremental
from catalog.inputs.permits import Permits
from catalog.inputs.replication import REPLICATION_KEYS, build_read_or_replicated
from catalog.inputs.stream import KAFKA, NATS, STREAM_KEYS, build_stream_input
from catalog.model.dataset import Input, Property
from catalog.sql.query import QueryTextError, find_tables, parse_query

MODES = ("snapshot", "upsert", "append")
InputBuilder = Callable[[YamlMapping, Input, Server, YamlPath, Findings, Permits], Input | None]


@dataclass(frozen=True)
class ServerInput:
    """What a server's type makes of an input."""

    types: tuple[str, ...]  # of servers[], as the contract standard names them; a custom server may name its own
    build: InputBuilder
    keys: tuple[str, ...] = ()  # that have a meaning for these types alone


SERVER_INPUTS: list[ServerInput] = [
    ServerInput(("local",), build_file_input),
    ServerInput(("s3",), build_bucket_input),
    ServerInput(("api",), build_http_input, HTTP_KEYS),
    ServerInput(tuple(DRIVERS), build_read_or_replicated, (*DATABASE_KEYS, *REPLICATION_KEYS)),
    ServerInput((KAFKA, NATS), build_stream_input, STREAM_KEYS),
]
COMMON_KEYS = (
    "server",
    "path",
    "format",
    "mode",
    "nullValues",
    "orderBy",
    "query",
    "events",
    "delimiter",
    "encoding",
    "columns",
    "records",
    "recordKey",
    "sheet",
    "watch",
    "deletes",
)


def input_keys() -> tuple[str, ...]:
    """Every key of an `input` that means something to one of its kinds."""
    return tuple(dict.fromkeys([*COMMON_KEYS, *(key for each in SERVER_INPUTS for key in each.keys)]))


def server_types() -> dict[str, ServerInput]:
    """What is read, by the type of its server."""
    return {name: each for each in SERVER_INPUTS for name in each.types}


def build_input(
    value: YamlNode,
    trail: YamlPath,
    contract: OpenDataContractStandard,
    properties: dict[str, Property],
    findings: Findings,
    permits: Permits,
) -> Input | None:
    """The input, or None where there is none or it cannot be used."""
    if value is None:
        return None
    if not isinstance(value, dict):
        findings.error(trail, "input: must be a mapping with server, path and mode, with query, or with events: true")
        return None
    known = input_keys()
    for key in value:
        if key not in known:
            findings.error(trail, f"input.{key}: unknown; known are {', '.join(known)}")
    common = read_common(value, properties, trail, findings)
    if common is None:
        return None
    found = build_fed(value, trail, contract, common, properties, findings, permits)
    return check_deletions(found, trail, findings) if found is not None else None


def build_fed(
    value: YamlMapping,
    trail: YamlPath,
    contract: OpenDataContractStandard,
    common: Input,
    properties: dict[str, Property],
    findings: Findings,
    permits: Permits,
) -> Input | None:
    """The input of its kind: pushed, derived, or read from a server; None where it cannot be used."""
    if "events" in value:
        return build_events_input(value, common, trail, findings)
    if value.get("query"):
        return build_query_input(value, common, trail, findings)
    read = find_server(value, contract, trail, findings)
    if read is None:
        return None
    server, build = read
    target = "param" if server.type == "api" else "column"
    incremental = build_incremental(value.get("incremental"), target, common.mode, properties, trail, findings)
    return build(value, replace(common, incremental=incremental), server, trail, findings, permits)


def read_common(
    value: YamlMapping, properties: dict[str, Property], trail: YamlPath, findings: Findings
) -> Input | None:
    """What inputs of all kinds say, of no kind yet; None where it cannot be used."""
    pushed = value.get("events") is True
    mode = value.get("mode", "upsert" if pushed else "snapshot")
    if mode not in MODES:
        findings.error(trail, f"input.mode: {mode!r} is not one of {', '.join(MODES)}")
        return None
    order_by = value.get("orderBy")
    if order_by is not None and not is_one_of(order_by, properties):
        findings.error(trail, f"input.orderBy: unknown property {order_by!r}")
        return None
    nulls = value.get("nullValues", [""])
    if not isinstance(nulls, list) or not all(isinstance(token, str) for token in nulls):
        findings.error(trail, 'input.nullValues: must be a list of texts such as ["", "NA"]')
        return None
    deletions = build_deletions(value.get("deletes"), str(mode), properties, trail, findings)
    return Input(kind="", mode=mode, null_values=tuple(map(str, nulls)), order_by=order_by, deletions=deletions)


def find_server(
    value: YamlMapping, contract: OpenDataContractStandard, trail: YamlPath, findings: Findings
) -> tuple[Server, InputBuilder] | None:
    """The server that the input names, and what builds inputs of its type; None where there is none."""
    servers: dict[str, Server] = {str(server.server): server for server in contract.servers or []}
    name = value.get("server")
    if not is_one_of(name, servers):
        known = ", ".join(str(name) for name in servers) or "none"
        findings.error(trail, f"input.server: {value.get('server')!r} is not one of servers[]: {known}")
        return None
    server = servers[name]
    known_types = server_types()
    type_name = find_type(server)
    read = known_types.get(type_name)
    if read is None:
        known = ", ".join(known_types)
        findings.error(trail, f"input.server: a server of type {type_name!r} is not supported; supported are {known}")
        return None
    for key in value:
        types = [name for name, each in known_types.items() if key in each.keys]
        if types and type_name not in types:
            findings.error(trail, f"input.{key}: does not apply to a server of type {type_name}")
    return server, read.build


def find_type(server: Server) -> str:
    """The server's type; of a custom one that names its kind, that."""
    if server.type == "custom":
        for custom in server.customProperties or []:
            if custom.property == "kind" and custom.value is not None:
                return str(custom.value)
    return str(server.type)


def build_query_input(value: YamlMapping, common: Input, trail: YamlPath, findings: Findings) -> Input | None:
    """The input of a derived dataset: a Postgres query over other datasets."""
    query = str(value["query"]).strip().rstrip(";").rstrip()
    try:
        reads = [table.read for table in find_tables(parse_query(query))]
    except QueryTextError as error:
        findings.error(trail, f"input.query: {error}")
        return None
    return replace(common, kind="query", null_values=("",), query=query, reads=tuple(dict.fromkeys(reads)))
