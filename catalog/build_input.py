"""The `input` custom property -> Input, with its server's path filled in."""

from __future__ import annotations

import codecs
import os
import re
from typing import Any

import sqlglot
from open_data_contract_standard.model import OpenDataContractStandard, Server
from sqlglot import expressions as exp

from catalog.dataset import Input, Property
from catalog.document import Findings, Trail
from catalog.settings import Settings

MODES = ("snapshot", "upsert", "append")
FORMATS = ("csv",)
INPUT_KEYS = ("server", "path", "format", "mode", "nullValues", "orderBy", "query", "delimiter", "encoding")
LATER_KEYS = (
    "records",
    "events",
    "method",
    "headers",
    "params",
    "pagination",
    "incremental",
    "retries",
    "timeout",
    "rateLimit",
)
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def build_input(
    value: Any,
    trail: Trail,
    contract: OpenDataContractStandard,
    properties: dict[str, Property],
    findings: Findings,
    settings: Settings,
) -> Input | None:
    """The input, or None where there is none or it cannot be used."""
    if value is None:
        return None
    if not isinstance(value, dict):
        findings.error(trail, "input: must be a mapping with server, path and mode, or with query")
        return None
    for key in value:
        if key in LATER_KEYS:
            findings.error(trail, f"input.{key}: not yet")
        elif key not in INPUT_KEYS:
            findings.error(trail, f"input.{key}: unknown; known are {', '.join(INPUT_KEYS)}")
    mode = value.get("mode", "snapshot")
    if mode not in MODES:
        findings.error(trail, f"input.mode: {mode!r} is not one of {', '.join(MODES)}")
        return None
    order_by = value.get("orderBy")
    if order_by is not None and order_by not in properties:
        findings.error(trail, f"input.orderBy: there is no property {order_by!r}")
        return None
    nulls = value.get("nullValues", [""])
    if not isinstance(nulls, list) or not all(isinstance(token, str) for token in nulls):
        findings.error(trail, 'input.nullValues: must be a list of texts such as ["", "NA"]')
        return None
    if value.get("query"):
        return build_query_input(value, mode, order_by, trail, findings)
    return build_file_input(value, mode, order_by, tuple(nulls), trail, contract, findings, settings)


def build_query_input(
    value: dict[str, Any], mode: str, order_by: str | None, trail: Trail, findings: Findings
) -> Input | None:
    """The input of a derived dataset: a Postgres query over other datasets."""
    query = str(value["query"]).strip().rstrip(";")
    try:
        parsed = sqlglot.parse(query, dialect="postgres")
    except sqlglot.errors.SqlglotError as error:
        findings.error(trail, f"input.query: {str(error).splitlines()[0]}")
        return None
    if (
        len(parsed) != 1
        or not isinstance(parsed[0], exp.Query)
        or parsed[0].find(exp.DML, exp.DDL, exp.Command, exp.Into)
    ):
        findings.error(trail, "input.query: must be one SELECT")
        return None
    inner = {cte.alias for cte in parsed[0].find_all(exp.CTE)}
    reads = [".".join(filter(None, (table.db, table.name))) for table in parsed[0].find_all(exp.Table)]
    return Input(
        kind="query",
        mode=mode,
        order_by=order_by,
        query=query,
        reads=tuple(dict.fromkeys(name for name in reads if name and name not in inner)),
    )


def build_file_input(
    value: dict[str, Any],
    mode: str,
    order_by: str | None,
    nulls: tuple[str, ...],
    trail: Trail,
    contract: OpenDataContractStandard,
    findings: Findings,
    settings: Settings,
) -> Input | None:
    """The input of a dataset that files feed."""
    servers = {server.server: server for server in contract.servers or []}
    server: Server | None = servers.get(value.get("server"))
    if server is None:
        known = ", ".join(str(name) for name in servers) or "none"
        findings.error(trail, f"input.server: {value.get('server')!r} is not one of servers[]: {known}")
        return None
    if server.type != "local":
        findings.error(trail, f"input.server: a server of type {server.type!r} is not read yet; local is")
        return None
    path = value.get("path")
    if not isinstance(path, str) or not path:
        findings.error(trail, "input.path: the file's path below the server's is needed")
        return None
    format_ = value.get("format") or server.format or "csv"
    if format_ not in FORMATS:
        findings.error(trail, f"input.format: {format_!r} is not read yet; {', '.join(FORMATS)} is")
        return None
    delimiter = value.get("delimiter") or server.delimiter or ","
    if not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in '"\r\n\0':
        findings.error(trail, "input.delimiter: must be one plain character")
        return None
    encoding = str(value.get("encoding") or "utf-8")
    if not is_line_encoding(encoding):
        findings.error(
            trail, f"input.encoding: {encoding!r} is not read; UTF-8, Latin-1 and others that keep ASCII are"
        )
        return None
    root, missing = fill_variables(server.path or ".", settings)
    path, also = fill_variables(path, settings)
    for name in [*missing, *also]:
        findings.error(trail, f"input: the environment variable {name} is not set")
    return Input(
        kind="file",
        mode=mode,
        root=root,
        path=path,
        format=format_,
        delimiter=delimiter,
        encoding=codecs.lookup(encoding).name,
        null_values=nulls,
        order_by=order_by,
    )


def is_line_encoding(name: str) -> bool:
    """Whether Python knows the encoding, and lines, quotes and delimiters are the same bytes in it as in ASCII."""
    structure = '\r\n",;|\t0aZ'
    try:
        return structure.encode(name) == structure.encode("ascii")
    except (LookupError, UnicodeError):
        return False


def fill_variables(text: str, settings: Settings) -> tuple[str, list[str]]:
    """The text with ${VARIABLES} filled in from the environment, and the names of those that are not set."""
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match[1] == "DECANT_DATA":
            return str(settings.data_folder)
        if match[1] not in os.environ:
            missing.append(match[1])
        return os.environ.get(match[1], "")

    return VARIABLE.sub(fill, text), missing
