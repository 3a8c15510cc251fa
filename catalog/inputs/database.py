"""The `input` of a dataset that a table or a query of a database feeds."""

from __future__ import annotations

import re
from dataclasses import replace

import sqlglot
from open_data_contract_standard.model import Server
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from catalog.document.custom_properties import read_custom_properties
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.inputs.file_format import check_variables
from catalog.inputs.incremental import count_errors, read_timeout
from catalog.inputs.permits import Permits
from catalog.inputs.source_urls import SourceUrlError, check_source_url, make_source_url
from catalog.inputs.variables import VARIABLE, expand_variables
from catalog.model.dataset import FileFormat, Input
from catalog.model.sources import DatabaseSource

DATABASE_KEYS = ("table", "sql", "incremental", "timeout")
COMMON_KEYS = ("server", "mode", "nullValues", "orderBy", "deletes")
LOGIN = ("url", "user", "password")  # the custom properties of a server that mean something here
# A server's type -> SQLAlchemy's name for it; `custom` says it in its URL.
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "sqlserver": "mssql+pyodbc",
    "oracle": "oracle+oracledb",
    "custom": "",
}
PARSED_AS = {"sqlserver": "tsql", "postgresql": "postgres", "custom": ""}
PLAIN_PASSWORD = re.compile(
    r"://[^/?#@\s]*:(?!\$\{)[^/?#@\s]+@|[?&](?:password|pwd|passwd)=(?!\$\{)[^&]+", re.IGNORECASE
)


def build_database_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input; None where it cannot be used. Variables stay as they are written until the moment of reading."""
    errors = count_errors(findings)
    for key in value:
        if key not in COMMON_KEYS + DATABASE_KEYS:
            findings.error(
                trail,
                f"input.{key}: does not apply to a database; known are {', '.join(COMMON_KEYS + DATABASE_KEYS)}",
            )
    table, sql = value.get("table"), value.get("sql")
    if (table is None) == (sql is None):
        findings.error(trail, "input: a database is read by table, its name, or by sql, one SELECT")
    schema = server.schema_
    if table is not None and (not isinstance(table, str) or not table.strip()):
        findings.error(trail, "input.table: must be the name of a table")
    elif isinstance(table, str) and schema is None and table.count(".") == 1:
        schema, table = table.split(".")
    if sql is not None:
        sql = str(sql).strip().rstrip(";").rstrip()
        check_select(sql, str(server.type), trail, findings)
    custom_properties = read_login(server, trail, findings)
    if count_errors(findings) > errors:
        return None
    source = DatabaseSource(
        server=str(server.server),
        driver=DRIVERS[str(server.type)],
        url=custom_properties.get("url"),
        host=server.host,
        port=str(server.port) if server.port else None,
        database=server.database,
        user=custom_properties.get("user"),
        password=custom_properties.get("password"),
        schema=schema,
        table=table if isinstance(table, str) else None,
        sql=sql,
        timeout=read_timeout(value, DatabaseSource.timeout, trail, findings),
    )
    check_variables(source.filled, permits, trail, findings)
    check_address(source, permits, trail, findings)
    # A database distinguishes null from the empty text by itself.
    nulls = common.null_values if "nullValues" in value else ()
    return replace(common, kind="database", file_format=FileFormat(format="ndjson"), null_values=nulls, source=source)


def check_address(source: DatabaseSource, permits: Permits, trail: YamlPath, findings: Findings) -> None:
    """An error for a database that may not be read, as far as the variables that are set here say."""
    problems: list[str] = []

    def expand(text: str) -> str:
        filled, missing = expand_variables(text, permits)
        problems.extend(missing)
        return filled

    try:
        url = make_source_url(source, expand)
        if not problems:
            check_source_url(url, source, permits)
    except SourceUrlError as error:
        findings.error(trail, f"input.server: the database {source.server} {error}")
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError, OSError):
        return  # said when it is read


def read_login(server: Server, trail: YamlPath, findings: Findings) -> dict[str, str]:
    """The server's custom properties that say where it is and who reads it; none where they cannot be used."""
    found = read_custom_properties(server.customProperties, trail, findings, "server")
    custom_properties: dict[str, str] = {}
    for key in LOGIN:
        text = found.get(key)
        if isinstance(text, str):
            custom_properties[key] = text
        elif text is not None:
            findings.error(trail, f"input.server: its custom property {key} must be a text")
            return {}
    if "url" not in custom_properties and (server.type == "custom" or not server.host):
        findings.error(
            trail,
            "input.server: needs a host, or the custom property url with a URL of SQLAlchemy, such as"
            ' "${ORDERS_URL}"',
        )
    password = custom_properties.get("password")
    if (password and not VARIABLE.search(password)) or PLAIN_PASSWORD.search(custom_properties.get("url", "")):
        findings.error(
            trail,
            "input.server: must not contain a password; use ${VARIABLE} and set the environment variable",
        )
    return custom_properties


def check_select(sql: str, kind: str, trail: YamlPath, findings: Findings) -> None:
    """Errors for what is not one SELECT that only reads."""
    try:
        parsed = sqlglot.parse(sql, dialect=PARSED_AS.get(kind, kind))
    except (SqlglotError, RecursionError) as error:
        findings.error(trail, f"input.sql: {str(error).splitlines()[0]}")
        return
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
        findings.error(trail, "input.sql: must be one SELECT")
    elif parsed[0].find(exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock):
        findings.error(trail, "input.sql: must be one SELECT that writes and locks nothing")
