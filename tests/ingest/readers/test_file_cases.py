"""Files as people have them: each folder of `tests/cases/files` is one, with what its load should come to.

All of them are datasets of one product, on one database, read back over HTTP. Where Decant does something else than
`expected.json` says, `OTHERWISE` says what and why: such a load fails, is withheld or rejects records in words, and
loses or changes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ingest.loading.loader import LoadReport
from tests.support.databases import Databases
from tests.support.file_cases import CASES, EXPECTED, NAMES, merge_contracts
from tests.support.lab import Lab

READS = 200  # the service hears of a publication a moment later


@dataclass(frozen=True)
class Present:
    """What Decant does with a case instead: status, counts, and words that stand in what it says."""

    why: str
    status: str
    counts: list[int] | None = None
    words: str = ""


OTHERWISE = {
    "ampm": Present("AM and PM are capitals in a pattern", "withheld", [3, 2, 1, 0], "M/d/yyyy h:mm a"),
    "backslash": Present("no escape but a doubled quote", "withheld", [2, 1, 1, 0], "broken or unclosed quotes"),
    "bigdec": Present("a number is a double; numeric keeps digits", "published", [3, 3, 0, 0]),
    "comments": Present("no comments", "failed", None, "co2.csv lacks the columns year, mean; it has # Annual means"),
    "equalstext": Present("a quote amid a field", "withheld", [2, 0, 2, 0], "broken or unclosed quotes"),
    "fixedwidth": Present("no fixed widths; blanks go", "withheld", [3, 2, 1, 0], "expected an integer"),
    "floatints": Present("19.0 is no integer", "withheld", [3, 1, 2, 0], "expected an integer"),
    "headerasdata": Present(
        "`columns` says there is no header", "published", [3, 3, 0, 0], "the first record looks like a header"
    ),
    "headeronly": Present("an empty batch may be held back", "withheld or published"),
    "inches": Present("a quote amid a field", "published", [20, 19, 1, 0], "broken or unclosed quotes"),
    "namibia": Present(
        "NA is a null word of the contract", "withheld", [4, 3, 1, 0], '"value": "NA", "message": "a value is'
    ),
    "ndjsonmess": Present("19.0 is no integer", "published", [23, 11, 12, 0], "not a JSON object but an array"),
    "numbers": Present("plain digits, within what JSON keeps", "published", [26, 5, 21, 0], "9007199254740991"),
    "oracledates": Present("months are Jan, not JAN", "withheld", [3, 1, 2, 0], "in the form dd-MMM-yyyy"),
    "parquetnested": Present("digits of nested decimals are kept", "published", [1, 1, 0, 0]),
    "parquetns": Present(
        "nanoseconds are no microseconds",
        "published",
        [3, 2, 1, 0],
        "has a timestamp with nanoseconds; only microseconds are supported",
    ),
    "parquetnsutc": Present(
        "nanoseconds in UTC alike",
        "withheld",
        [2, 0, 2, 0],
        "has a timestamp with nanoseconds; only microseconds are supported",
    ),
    "parquettypes": Present("NaN and NUL", "published", [6, 2, 4, 0], "holds NaN, which is not a JSON number"),
    "parquetwhite": Present("the empty text is a null word", "published", [3, 3, 0, 0]),
    "preamble": Present("the first line is the header", "failed", None, "rain.csv lacks the columns station"),
    "spacequote": Present("a blank before a quote", "withheld", [3, 1, 2, 0], "broken or unclosed quotes"),
    "trailing": Present("a column too many", "withheld", [3, 0, 3, 0], "4 columns where the header has 3"),
    "trailingway": Present("a header is no record", "published", [21, 20, 1, 0], "3 columns where the header has 4"),
    "twins": Present("which of two?", "failed", None, r"columns value more than once.*value \(2\)"),
    "twinsxlsx": Present("which of two?", "failed", None, r"columns value more than once.*value \(2\)"),
    "typedobject": Present(
        "NaN within an object", "published", [2, 1, 1, 0], "holds NaN, which is not a JSON number"
    ),
    "whitespace": Present("blanks around texts go, as documented", "published", [5, 4, 0, 1]),
    "xlsxearly": Present("what is no day", "published", [10, 7, 3, 0], "expected a date"),
    "xlsxformula": Present("no value in the file", "withheld", [10, 0, 10, 0], "formula in D2 whose value is not"),
    "xlsxnegative": Present("a negative number is no time of day", "published", [3, 3, 0, 0]),
    "xlsxoffset": Present("a table may begin anywhere", "published", [4, 4, 0, 0]),
    "xlsxtitle": Present("the first row is the header", "failed", None, "lacks the columns id, name, amount"),
}
# What must be said where a load ends as expected.
WORDS = {
    "blankcommas": "30 rows of delimiters alone are skipped",
    "bz2": "data.csv.bz2 is compressed with bzip2",
    "csvxlsx": "r.xlsx is not an XLSX workbook",
    "cutgz": "d.csv.gz.*ended before the end",
    "htmlxls": "r.xls is an HTML page",
    "jsonkeynul": r"d.json.*no 'data' at \$; its keys there are: .*rows",
    "jsonkeysurrogate": r"d.json.*no 'data' at \$; its keys there are: .*rows",
    "oldxls": r"r.xls is an old Office file \(.xls",
    "prettyndjson": "its format is json, not ndjson",
    "targz": "data.tar.gz is a tar archive",
    "utf16nobom": "sql.csv is utf-16-le without a byte order mark",
    "xlsxmerged": "1 ranges of merged cells",
    "zipreadme": "data.zip.*contains 2: 'data.csv', 'README.txt'",
}
# Values that no expected.json says, and that must be these.
SEEN: dict[str, list[dict[str, Any]]] = {
    "headerasdata": [{"code": "Code"}],
    "parquetnested": [{"mp": {"a": "123456789012345678.25"}, "mt": {"a": "2024-01-05T10:00:00"}}],
    "parquetns": [{"id": 2, "utc": "2023-11-30T10:20:20.123456+00:00"}, {"id": 3, "naive": "2023-11-30T10:20:20"}],
    "parquetwhite": [{"code": " A", "text": "other"}, {"code": "A", "text": "  def f():"}, {"code": "B"}],
    "xlsxnegative": [{"id": 1, "clock": "-0.25"}, {"id": 2, "clock": "06:00:00", "at": "-3.5"}],
    "xlsxoffset": [{"id": 2, "name": "#N/A"}, {"id": 4, "name": "true", "note": "12345678901234570"}],
}


@dataclass(frozen=True)
class Bench:
    """The product of all cases, and a client of its service."""

    lab: Lab
    client: httpx.Client

    def load(self, name: str) -> LoadReport:
        """The report of the load that ends the case: inputs that hold several batches are loaded to the last."""
        report = self.lab.ingest(f"cases.{name}")
        for _ in range(5):
            if not report.more:
                break
            report = self.lab.ingest(f"cases.{name}")
        return report

    def records(self, name: str, revision: int) -> list[dict[str, Any]]:
        """What is served, of this revision."""
        for _ in range(READS):
            answer = self.client.get(
                f"/data/cases/v1/{name}/records?limit=1000", headers={"Decant-Min-Revision": str(revision)}
            )
            if answer.status_code == 200:
                return list(answer.json()["data"])
            time.sleep(0.05)
        raise AssertionError(answer.text)

    def rejected(self, load_id: int) -> list[tuple[int, str]]:
        """The line of each rejected record, and its reasons' words."""
        query = "SELECT line, reasons::text FROM decant.rejected_records WHERE load_id = %s ORDER BY line"
        return [(line, reasons) for line, reasons in self.lab.rows(query, load_id)]


@pytest.fixture(scope="module")
def bench(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    name = databases.create()
    lab = Lab.build(tmp_path_factory.mktemp("cases"), databases.urls(name), merge_contracts(), data=CASES)
    lab.migrate()
    with lab.serve() as client:
        yield Bench(lab, client)
    databases.drop(name)


def test_every_case_that_ends_otherwise_is_one() -> None:
    assert not {*OTHERWISE, *WORDS, *SEEN} - set(NAMES)


@pytest.mark.sampled
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_as_it_should_be_or_refused_in_words(bench: Bench, name: str) -> None:
    expected, present = EXPECTED[name], OTHERWISE.get(name)
    report = bench.load(name)
    outcome = report.outcome
    found = [outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates] if outcome else None
    rejected = bench.rejected(report.load_id)
    if found:
        assert found[0] == sum(found[1:])
        assert len(rejected) == found[2]
    said = "\n".join([report.error or "", *report.notes, *(reasons for _, reasons in rejected)])
    assert (report.status == "failed") == bool(report.error)
    if present:
        assert report.status in present.status, said
        assert found == present.counts or present.counts is None, said
        assert re.search(present.words, said, re.DOTALL)
    else:
        assert report.status in expected["status"] or expected["status"] in {"any"}, said
        if isinstance(expected.get("counts"), list) and found:
            assert found == expected["counts"]
    assert re.search(WORDS.get(name, ""), said, re.DOTALL), said
    assert all(line in expected.get("reject_lines", [line]) for line, _ in rejected)
    if outcome is None or outcome.status != "published":
        return
    records = bench.records(name, outcome.revision)
    if "records" in expected and name != "whitespace" and (not present or name == "parquettypes"):
        assert records == expected["records"]
    values = expected.get("values", {}) | expected.get("values2", {})
    by_key = {str(record["id"]): list(record.values()) for record in records if "id" in record}
    assert all(value in by_key[key] for key, value in values.items())
    for part in SEEN.get(name, ()):
        assert any(part.items() <= record.items() for record in records), records
