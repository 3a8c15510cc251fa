"""The same question for programs: texts that run as they stand. Pure."""

from __future__ import annotations

import json
from pprint import pformat
from typing import Any, NamedTuple

CREDENTIAL = "DECANT_KEY"
HEADER = "X-API-Key"
KEYLESS = "Whatever draws it fetches the data without your key: put the members of data in its place as values."
COLUMNS = 100  # of Python


class Snippet(NamedTuple):
    """One way to ask."""

    name: str
    text: str
    note: str = ""


def write_snippets(
    address: str, export: str | None, chart: dict[str, Any] | None = None, *, is_open: bool
) -> list[Snippet]:
    """curl, Python and JavaScript of the question; DuckDB of its groups or, of records, of the export; its chart.

    Vega-Lite and Altair draw the chart. A key is taken from the environment, where the dataset is not open.
    """
    found = [
        Snippet("curl", write_curl(address, is_open=is_open)),
        Snippet("Python", write_python(address, is_open=is_open)),
        Snippet("JavaScript", write_javascript(address, is_open=is_open)),
        Snippet("DuckDB", write_duckdb(address, export, is_open=is_open), install("duckdb")),
    ]
    if chart is not None:
        note = "" if is_open else KEYLESS
        found.append(Snippet("Vega-Lite", json.dumps(chart, indent=2, ensure_ascii=False), note))
        found.append(Snippet("Altair", write_altair(chart, is_open=is_open), install("altair")))
    return found


def install(package: str) -> str:
    """What a program needs, in a sentence."""
    return f"It needs the package {package}: pip install {package}"


def write_headers(*, is_open: bool) -> str:
    """The argument of a Python request that sends the key; empty where none is needed."""
    return "" if is_open else f', headers={{"{HEADER}": os.environ["{CREDENTIAL}"]}}'


def write_curl(address: str, *, is_open: bool) -> str:
    """One page; of an export, the whole: its address leads to another one."""
    header = "" if is_open else f' -H "{HEADER}: ${CREDENTIAL}"'
    quoted = address.replace("'", "%27")
    return f"curl -gL{header} '{quoted}'"


def write_python(address: str, *, is_open: bool) -> str:
    """All pages, with the standard library."""
    lines = ["import json", *([] if is_open else ["import os"]), "from urllib.parse import urljoin"]
    lines += ["from urllib.request import Request, urlopen", ""]
    lines += [
        f"url, rows = {json.dumps(address)}, []",
        "while url:",
        f"    with urlopen(Request(url{write_headers(is_open=is_open)})) as answer:",
        "        page = json.load(answer)",
        '    rows += page["data"]',
        '    url = page["next"] and urljoin(url, page["next"])',
        "print(len(rows), rows[:3])",
    ]
    return "\n".join(lines)


def write_javascript(address: str, *, is_open: bool) -> str:
    """All pages, in Node; without a key, in a browser too."""
    options = "" if is_open else f', {{ headers: {{ "{HEADER}": process.env.{CREDENTIAL} }} }}'
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


def write_duckdb(address: str, export: str | None, *, is_open: bool) -> str:
    """The records as a table of DuckDB, by way of a Parquet file; groups, which have no export, by way of JSON."""
    headers = write_headers(is_open=is_open)
    if export is None:
        lines = ["import json", *([] if is_open else ["import os"]), "from urllib.parse import urljoin"]
        lines += [
            "from urllib.request import Request, urlopen",
            "",
            "import duckdb",
            "",
            f"url = {json.dumps(address)}",
            'with open("groups.json", "w") as file:',
            "    while url:",
            f"        with urlopen(Request(url{headers})) as answer:",
            "            page = json.load(answer)",
            '        file.writelines(json.dumps(group) + "\\n" for group in page["data"])',
            '        url = page["next"] and urljoin(url, page["next"])',
            "print(duckdb.sql(\"SELECT * FROM read_json('groups.json', format = 'newline_delimited')\"))",
        ]
        return "\n".join(lines)
    lines = [
        *([] if is_open else ["import os"]),
        "from urllib.request import Request, urlopen",
        "",
        "import duckdb",
        "",
    ]
    lines += [
        f"url = {json.dumps(export)}",
        f'with urlopen(Request(url{headers})) as answer, open("records.parquet", "wb") as file:',
        "    file.write(answer.read())",
        "print(duckdb.sql(\"SELECT count(*) FROM 'records.parquet'\").fetchall())",
    ]
    return "\n".join(lines)


def write_altair(chart: dict[str, Any], *, is_open: bool) -> str:
    """The specification as a chart of Altair; with a key, the data is fetched before."""
    lines = [*([] if is_open else ["import json", "import os", "from urllib.request import Request, urlopen", ""])]
    lines += ["import altair as alt", "", f"specification = {pformat(chart, width=COLUMNS, sort_dicts=False)}"]
    if not is_open:
        lines += [
            f'headers = {{"{HEADER}": os.environ["{CREDENTIAL}"]}}',
            'with urlopen(Request(specification["data"]["url"], headers=headers)) as answer:',
            '    specification["data"] = {"values": json.load(answer)["data"]}',
        ]
    return "\n".join([*lines, 'alt.Chart.from_dict(specification).save("chart.html")'])
