"""The `input` custom property -> Input, with its server's path filled in."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlglot
from open_data_contract_standard.model import OpenDataContractStandard, Server
from sqlglot import expressions as exp

from catalog.build_events import build_events_input
from catalog.dataset import Input, Property, RawForm
from catalog.document import Findings, Trail
from catalog.settings import Settings

MODES = ("snapshot", "upsert", "append")
FORMATS = ("csv",)  # and tsv, which is csv with tabs
INPUT_KEYS = (
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
)
LATER_KEYS = (
    "records",
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
        findings.error(trail, "input: must be a mapping with server, path and mode, with query, or with events: true")
        return None
    for key in value:
        if key in LATER_KEYS:
            findings.error(trail, f"input.{key}: not yet")
        elif key not in INPUT_KEYS:
            findings.error(trail, f"input.{key}: unknown; known are {', '.join(INPUT_KEYS)}")
    pushed = value.get("events") is True
    mode = value.get("mode", "upsert" if pushed else "snapshot")
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
    common = Input(kind="", mode=mode, null_values=tuple(nulls), order_by=order_by)
    if "events" in value:
        return build_events_input(value, common, trail, findings)
    if value.get("query"):
        return build_query_input(value, common, trail, findings)
    servers = {server.server: server for server in contract.servers or []}
    server: Server | None = servers.get(value.get("server"))
    if server is None:
        known = ", ".join(str(name) for name in servers) or "none"
        findings.error(trail, f"input.server: {value.get('server')!r} is not one of servers[]: {known}")
        return None
    build = SERVER_INPUTS.get(str(server.type))
    if build is None:
        known = ", ".join(SERVER_INPUTS)
        findings.error(trail, f"input.server: a server of type {server.type!r} is not read yet; {known} are")
        return None
    return build(value, common, server, trail, findings, settings)


def build_query_input(value: dict[str, Any], common: Input, trail: Trail, findings: Findings) -> Input | None:
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
    return replace(
        common,
        kind="query",
        null_values=("",),
        query=query,
        reads=tuple(dict.fromkeys(name for name in reads if name and name not in inner)),
    )


def build_file_input(
    value: dict[str, Any], common: Input, server: Server, trail: Trail, findings: Findings, settings: Settings
) -> Input | None:
    """The input of a dataset that files of a folder feed."""
    path = value.get("path")
    if not isinstance(path, str) or not path:
        findings.error(trail, "input.path: the file's path below the server's is needed")
        return None
    form = build_form(value, server, trail, findings)
    if form is None:
        return None
    root, missing = fill_variables(server.path or ".", settings)
    path, also = fill_variables(path, settings)
    for name in [*missing, *also]:
        findings.error(trail, f"input: the environment variable {name} is not set")
    return replace(common, kind="file", form=form, root=root, path=path)


def build_form(value: dict[str, Any], server: Server, trail: Trail, findings: Findings) -> RawForm | None:
    """How the raw records are cut, from the input and its server; None where it cannot be done."""
    format_ = str(value.get("format") or server.format or "csv").lower()
    tabs = format_ == "tsv"
    if not tabs and format_ not in FORMATS:
        findings.error(trail, f"input.format: {format_!r} is not read; {', '.join(FORMATS)}, tsv are")
        return None
    delimiter = value.get("delimiter") or server.delimiter or ("\t" if tabs else ",")
    if not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in '"\r\n\0':
        findings.error(trail, "input.delimiter: must be one plain character")
        return None
    encoding = str(value.get("encoding") or "utf-8")
    if not is_line_encoding(encoding):
        findings.error(
            trail, f"input.encoding: {encoding!r} is not read; UTF-8, Latin-1 and others that keep ASCII are"
        )
        return None
    columns = value.get("columns")
    if columns is not None and (
        not isinstance(columns, list)
        or not columns
        or not all(isinstance(name, str) and name.strip() for name in columns)
        or len(set(columns)) != len(columns)
    ):
        findings.error(trail, "input.columns: must be a list of the columns' names, each once")
        return None
    return RawForm(
        format="csv" if tabs else format_,
        delimiter=delimiter,
        encoding=codecs.lookup(encoding).name,
        columns=tuple(columns) if columns else None,
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


InputBuilder = Callable[[dict[str, Any], Input, Server, Trail, Findings, Settings], Input | None]
# What a server's type makes of an input.
SERVER_INPUTS: dict[str, InputBuilder] = {"local": build_file_input}
