"""The same question for programs: texts that run as they stand. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

CREDENTIAL = "DECANT_KEY"


class Snippet(NamedTuple):
    """One way to ask."""

    name: str
    text: str


def write_snippets(address: str, export: str, *, is_open: bool) -> list[Snippet]:
    """curl, Python and JavaScript for the address of the question, DuckDB for that of its export."""
    return [
        Snippet("curl", write_curl(address, is_open=is_open)),
        Snippet("Python", write_python(address, is_open=is_open)),
        Snippet("JavaScript", write_javascript(address, is_open=is_open)),
        Snippet("DuckDB", write_duckdb(export, is_open=is_open)),
    ]


def write_curl(address: str, *, is_open: bool) -> str:
    """One page."""
    header = "" if is_open else f' -H "Authorization: Bearer ${CREDENTIAL}"'
    quoted = address.replace("'", "%27")
    return f"curl -g{header} '{quoted}'"


def write_python(address: str, *, is_open: bool) -> str:
    """All pages, with the standard library."""
    lines = ["import json", *([] if is_open else ["import os"]), "from urllib.parse import urljoin"]
    lines += ["from urllib.request import Request, urlopen", ""]
    headers = "" if is_open else f', headers={{"Authorization": "Bearer " + os.environ["{CREDENTIAL}"]}}'
    lines += [
        f"url, rows = {json.dumps(address)}, []",
        "while url:",
        f"    with urlopen(Request(url{headers})) as answer:",
        "        page = json.load(answer)",
        '    rows += page["data"]',
        '    url = page["next"] and urljoin(url, page["next"])',
        "print(len(rows), rows[:3])",
    ]
    return "\n".join(lines)


def write_javascript(address: str, *, is_open: bool) -> str:
    """All pages, in Node or a browser."""
    options = "" if is_open else f", {{ headers: {{ Authorization: `Bearer ${{process.env.{CREDENTIAL}}}` }} }}"
    return "\n".join(
        [
            f"let url = {json.dumps(address)};",
            "const rows = [];",
            "while (url) {",
            f"  const page = await (await fetch(url{options})).json();",
            "  rows.push(...page.data);",
            "  url = page.next && new URL(page.next, url).href;",
            "}",
            "console.log(rows.length, rows.slice(0, 3));",
        ]
    )


def write_duckdb(export: str, *, is_open: bool) -> str:
    """The records as a table of DuckDB, by way of a Parquet file."""
    lines = [
        *([] if is_open else ["import os"]),
        "from urllib.request import Request, urlopen",
        "",
        "import duckdb",
        "",
    ]
    headers = "" if is_open else f', headers={{"Authorization": "Bearer " + os.environ["{CREDENTIAL}"]}}'
    lines += [
        f"url = {json.dumps(export)}",
        f'with urlopen(Request(url{headers})) as answer, open("records.parquet", "wb") as file:',
        "    file.write(answer.read())",
        "print(duckdb.sql(\"SELECT count(*) FROM 'records.parquet'\").fetchall())",
    ]
    return "\n".join(lines)
