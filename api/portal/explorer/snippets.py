"""The same question for programs: texts that run as they stand. Pure."""

from __future__ import annotations

import json
from pprint import pformat
from typing import Any, NamedTuple

CREDENTIAL = "DECANT_KEY"
KEYLESS = "Whatever draws it fetches the data without your key: put the members of data in its place as values."
COLUMNS = 100  # of Python


class Snippet(NamedTuple):
    """One way to ask."""

    name: str
    text: str
    note: str = ""


def write_snippets(address: str, export: str, chart: dict[str, Any] | None = None, *, is_open: bool) -> list[Snippet]:
    """curl, Python and JavaScript of the question; DuckDB of its export; Vega-Lite and Altair of its chart."""
    found = [
        Snippet("curl", write_curl(address, is_open=is_open)),
        Snippet("Python", write_python(address, is_open=is_open)),
        Snippet("JavaScript", write_javascript(address, is_open=is_open)),
        Snippet("DuckDB", write_duckdb(export, is_open=is_open)),
    ]
    if chart is not None:
        note = "" if is_open else KEYLESS
        found.append(Snippet("Vega-Lite", json.dumps(chart, indent=2, ensure_ascii=False), note))
        found.append(Snippet("Altair", write_altair(chart, is_open=is_open)))
    return found


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


def write_altair(chart: dict[str, Any], *, is_open: bool) -> str:
    """The specification as a chart of Altair; with a key, the data is fetched before."""
    lines = [*([] if is_open else ["import json", "import os", "from urllib.request import Request, urlopen", ""])]
    lines += ["import altair as alt", "", f"specification = {pformat(chart, width=COLUMNS, sort_dicts=False)}"]
    if not is_open:
        lines += [
            f'headers = {{"Authorization": "Bearer " + os.environ["{CREDENTIAL}"]}}',
            'with urlopen(Request(specification["data"]["url"], headers=headers)) as answer:',
            '    specification["data"] = {"values": json.load(answer)["data"]}',
        ]
    return "\n".join([*lines, 'alt.Chart.from_dict(specification).save("chart.html")'])
