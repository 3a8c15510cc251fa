"""The worked examples of CONTRIBUTING.md: each is added to a copy of the code, and then used."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from runtime.settings.settings import PROJECT_ROOT
from tests.support.lab import Lab

PACKAGES = ("api", "catalog", "commands", "ingest", "migrations", "runtime", "tests")
SECTION = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.M | re.S)
BLOCK = re.compile(r"^(New file|In) `([^`]+)`(?:, to `(\w+)`)?:\n\n```python\n(.*?)```", re.M | re.S)
CLOSING = {"[": "]", "{": "}", "(": ")"}
FUTURE = "from __future__ import annotations\n"

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: added
name: Added
version: 1.0.0
status: active
servers:
  - {{server: here, type: {type}}}
schema:
  - name: rows
    customProperties:
      - {{property: input, value: {{server: here, path: {path}}}}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: name, logicalType: string}}
roles:
  - {{role: "added:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}
"""
FILES = 'local, path: "${DECANT_DATA}", format: '
# Serves the product of a lab in the copy, after a load, and prints what an address answers.
SCRIPT = """
import re
import sys
from pathlib import Path
from catalog.model.load_request import Erase
from runtime.postgres.database import DatabaseUrls
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
import api
assert Path(api.__file__).is_relative_to(Path.cwd()), api.__file__
folder, address, erased, *urls = sys.argv[1:]
settings = load_settings(home=Path(folder, "home"), contracts=Path(folder, "contracts"), data=Path(folder, "data"))
lab = Lab(settings, DatabaseUrls(*urls))
lab.migrate()
report = lab.loader().run(lab.dataset("added.rows"))
print(report.status, report.outcome and report.outcome.rejected, report.error)
with lab.serve() as client:
    answer = client.get(address, follow_redirects=True)
    print(answer.status_code, answer.text)
    document = client.get("/openapi/added/v1.json").text
    found = re.findall(r"count_added_v1_rows|08:00:2b:01:02:03", document)
    print("[nin]" in document, document.count("tsv"), *found[:1])
if erased:
    report = lab.loader().run(lab.dataset("added.rows"), request=Erase((erased,)), requested_by="test")
    print(report.status, report.error)
"""


def examples() -> dict[str, list[tuple[str, str, str, str]]]:
    """The blocks of each section: what is done, in which file, to which list, and the code."""
    text = (PROJECT_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {title: BLOCK.findall(body) for title, body in SECTION.findall(text)}
    return {title: blocks for title, blocks in found.items() if blocks}


def copy_code(target: Path, title: str) -> list[str]:
    """A copy of the code with an example added; the files that were touched."""
    for package in PACKAGES:
        # With its bytecode, which holds as long as a file keeps the time of its last change.
        shutil.copytree(PROJECT_ROOT / package, target / package)
    touched = []
    for action, name, registry, code in examples()[title]:
        path = target / name
        touched.append(name)
        if action == "New file":
            assert not path.exists()
            path.write_text(code)
            continue
        lines = code.splitlines(keepends=True)
        imports = "".join(line for line in lines if line.startswith("from "))
        entry = "".join(line for line in lines if not line.startswith("from "))
        text = path.read_text().replace(FUTURE, FUTURE + "\n" + imports, 1)
        begun = re.search(rf"^{registry}\b.*([\[{{(])\n", text, re.M)
        assert begun is not None, f"{name} has no list {registry}"
        end = text.index("\n" + CLOSING[begun[1]], begun.end() - 1) + 1
        path.write_text(text[:end] + entry + text[end:])
    return touched


def ask(lab: Lab, copy: Path, address: str, erased: str = "") -> list[str]:
    """What the copy says of a load, of an address, of what was added in its OpenAPI document, and of an erasure."""
    urls = (lab.urls.owner, lab.urls.ingest, lab.urls.read, lab.urls.write)
    folder = lab.settings.contracts.parent
    asked = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, address, erased, *urls],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.splitlines()


def product(make_lab: Callable[..., Lab], type_: str, path: str) -> Lab:
    """A product whose contract the code knows as it is, before its input is written over."""
    lab = make_lab(CONTRACT.format(type=FILES + "csv", path="rows.csv"))
    for file in lab.settings.contracts.iterdir():
        file.write_text(CONTRACT.format(type=type_, path=path))
    return lab


@pytest.mark.slow
def test_an_operator_is_found_by_parser_sql_and_documents(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = product(make_lab, FILES + "csv", "rows.csv")
    lab.write("rows.csv", "id,name\n1,a\n2,b\n3,c\n")
    touched = copy_code(tmp_path / "copy", "A filter operator")
    load, answer, documents = ask(lab, tmp_path / "copy", "/data/added/v1/rows/records?id[nin]=1,3&properties=id")
    assert load == "published 0 None"
    assert answer.startswith('200 {"data":[{"id":2}]'), answer
    assert documents.startswith("True")
    assert len(touched) == 1


@pytest.mark.slow
def test_an_export_format_is_found_by_parser_writer_and_documents(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab = product(make_lab, FILES + "csv", "rows.csv")
    lab.write("rows.csv", 'id,name\n1,"a\tb"\n2,\n')
    touched = copy_code(tmp_path / "copy", "An export format")
    _, *answer, documents = ask(lab, tmp_path / "copy", "/data/added/v1/rows/export?format=tsv")
    assert "\n".join(answer) == "200 id\tname\n1\ta b\n2\t\n"
    assert documents == "False 2"  # of exports, and of their sizes
    assert len(touched) == 2


@pytest.mark.slow
def test_a_file_format_is_read_and_its_bad_lines_are_rejected(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = product(make_lab, FILES + "logfmt", "rows.logfmt")
    lab.write("rows.logfmt", 'id=1 name="Ann \\"Lee\\""\nnothing here\nid=x name=b\nid=2 name=c\n')
    copy_code(tmp_path / "copy", "A file format")
    load, answer, _, erased = ask(lab, tmp_path / "copy", "/data/added/v1/rows/records", erased="1")
    assert load == "published 2 None"
    assert erased == "published None"
    landed = [file.read_text() for file in lab.landing.rglob("*") if file.is_file()]
    assert [text for text in landed if "id=2" in text] == ["\nnothing here\nid=x name=b\nid=2 name=c\n"]
    assert '"data":[{"id":1,"name":"Ann \\"Lee\\""},{"id":2,"name":"c"}]' in answer
    assert lab.rows("SELECT line, raw FROM decant.rejected_records ORDER BY line") == [
        (2, "nothing here"),
        (3, "id=x name=b"),
    ]


@pytest.mark.slow
def test_an_input_kind_is_built_from_a_contract_and_read(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = product(make_lab, 'duckdb, database: "${DECANT_DATA}/rows.duckdb"', "rows")
    with duckdb.connect(str(lab.settings.data_folder / "rows.duckdb")) as source:
        source.execute("CREATE TABLE rows AS SELECT 1 AS id, 'a' AS name UNION ALL SELECT 2, NULL")
    touched = copy_code(tmp_path / "copy", "An input kind")
    load, answer, _ = ask(lab, tmp_path / "copy", "/data/added/v1/rows/records")
    assert load == "published 0 None"
    assert '"data":[{"id":1,"name":"a"},{"id":2,"name":null}]' in answer
    assert len(touched) == 5


@pytest.mark.slow
def test_a_kind_of_question_has_a_route_a_link_a_tag_and_an_operation(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab = product(make_lab, FILES + "csv", "rows.csv")
    lab.write("rows.csv", "id,name\n1,a\n2,b\n3,\n")
    touched = copy_code(tmp_path / "copy", "A kind of question")
    load, answer, documents = ask(lab, tmp_path / "copy", "/data/added/v1/rows/count?id[gte]=2&at=1")
    assert load == "published 0 None"
    assert answer == '200 {"data":2,"revision":1}'
    assert "count_added_v1_rows" in documents
    _, refusal, _ = ask(lab, tmp_path / "copy", "/data/added/v1/rows/count?limit=2")
    assert "unknown_parameter" in refusal
    _, linked, _ = ask(lab, tmp_path / "copy", "/data/added/v1/rows")
    assert "/data/added/v1/rows/count" in linked
    assert len(touched) == 2


@pytest.mark.slow
def test_a_property_type_is_stored_filtered_exported_and_described(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab = product(make_lab, FILES + "csv", "rows.csv")
    text = CONTRACT.format(type=FILES + "csv", path="rows.csv")
    for file in lab.settings.contracts.iterdir():
        file.write_text(
            text.replace(
                "{name: name, logicalType: string}", "{name: mac, logicalType: string, physicalType: macaddr}"
            )
        )
    lab.write("rows.csv", "id,mac\n1,08:00:2B:01:02:03\n2,08:00:2b:01:02\n3,\n4,fe:00:2b:01:02:03\n")
    touched = copy_code(tmp_path / "copy", "A property type")
    load, answer, documents = ask(
        lab, tmp_path / "copy", "/data/added/v1/rows/records?mac[gte]=08:00:2b:01:02:03&sort=-mac&properties=id,mac"
    )
    assert load == "published 1 None"
    assert '"data":[{"id":4,"mac":"fe:00:2b:01:02:03"},{"id":1,"mac":"08:00:2b:01:02:03"}]' in answer
    assert lab.rows("SELECT data_type FROM information_schema.columns WHERE column_name = 'mac' LIMIT 1") == [
        ("macaddr",)
    ]
    _, *export, _ = ask(lab, tmp_path / "copy", "/data/added/v1/rows/export?format=csv&mac=08:00:2b:01:02:03")
    assert export == ["200 id,mac", "1,08:00:2b:01:02:03", ""]
    assert "08:00:2b:01:02:03" in documents
    assert len(touched) == 2


@pytest.mark.sampled
@pytest.mark.parametrize("title", list(examples()))
def test_every_example_is_as_the_others_are_written(title: str, tmp_path: Path) -> None:
    touched = copy_code(tmp_path, title)
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--config", PROJECT_ROOT / "pyproject.toml"]
    # Only where the imports were put is a matter of the test.
    checked = subprocess.run(
        [*ruff, "--ignore", "I001", *touched], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
