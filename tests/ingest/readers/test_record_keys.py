"""Records that lie in an object under their keys: from files, buckets' bytes and pages of an API by one reader."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.contract.load import lint_contracts
from catalog.model.dataset import FileFormat
from catalog.model.load_request import Erase, Replay
from ingest.errors import SourceError
from ingest.http_client import client as http_client
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.parse_json import parse
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: rates
name: Rates
version: 1.0.0
status: active
servers:
  - {{server: files, type: local, path: "${{DECANT_DATA}}", format: json}}
  - {{server: remote, type: api, location: "${{API_URL}}"}}
schema:
  - name: rates
    customProperties:
      - property: input
        value: {{{input}}}
      - {{property: maxRejected, value: 100}}
      - {{property: maxDeleted, value: 100}}
    properties:
      - {{name: code, logicalType: string, primaryKey: true}}
      - {{name: rate, logicalType: number, physicalType: "numeric(10,2)", logicalTypeOptions: {{minimum: 0}}}}
"""
WHERE = 'records: "$.items[*]", recordKey: code'
FILE = f"server: files, path: rates.json, {WHERE}"
FILE_FORMAT = FileFormat(format="json", records="$.items[*]", record_key="code")


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteApi]:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.001)
    with run_remote_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        yield api


def rates(lab: Lab) -> dict[str, Any]:
    return dict(lab.rows("SELECT code, rate::text FROM rates_v1.rates ORDER BY code"))


@pytest.mark.parametrize(
    ("items", "records"),
    [
        ('{"a": {"n": 1}, "b": {"n": 2}}', [{"code": "a", "n": 1}, {"code": "b", "n": 2}]),
        ('{"a": {}, "b": { }}', [{"code": "a"}, {"code": "b"}]),
        ('{"é\\u00e9\\"\\\\": {"n": "x"}}', [{"code": 'éé"\\', "n": "x"}]),
        ('{"": {"n": 1}}', [{"code": "", "n": 1}]),
        ('{ "a" :\n{\n "n" : 1.10\n}\n}', [{"code": "a", "n": "1.10"}]),
        ('{"a": {"n": 1}, "a": {"n": 2}}', [{"code": "a", "n": 1}, {"code": "a", "n": 2}]),
        ("{}", []),
        ("[]", []),  # as some write an empty object
        ("null", []),
    ],
)
def test_the_key_of_a_record_is_one_of_its_values(items: str, records: list[dict[str, Any]]) -> None:
    found, malformed = parse(f'{{"meta": 1, "items": {items}}}'.encode(), FILE_FORMAT)
    assert [json.loads(text) for _, text in found] == records
    assert [line for line, _ in found] == [*range(1, len(records) + 1)]
    assert malformed == []


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ('"b": 7', "is not a JSON object but a number"),
        ('"b": null', "is not a JSON object but null"),
        ('"b": [{"n": 1}]', "is not a JSON object but an array"),
        ('"b": {"code": "b"}', "has the duplicate key 'code'"),
        ('"b": {"n": NaN}', "holds NaN"),
        ('"\\u0000": {"n": 1}', "contains a NUL character"),
        ('"\\ud800": {"n": 1}', "is not JSON"),
    ],
)
def test_a_member_that_is_no_record_is_rejected_alone(member: str, problem: str) -> None:
    found, malformed = parse(f'{{"items": {{"a": {{"n": 1}}, {member}, "c": {{"n": 3}}}}}}'.encode(), FILE_FORMAT)
    assert [(line, json.loads(text)["code"]) for line, text in found] == [(1, "a"), (3, "c")]
    ((line, _, message),) = malformed
    assert (line, problem in message) == (2, True)


def test_a_list_in_place_of_the_object_is_another_shape() -> None:
    with pytest.raises(SourceError, match=r"has a list at \$\.items, whose items have no keys"):
        parse(b'{"items": [{"n": 1}]}', FILE_FORMAT)
    found, _ = parse(b'{"a": {"n": 1}}', FileFormat(format="json", records="$[*]", record_key="code"))
    assert json.loads(found[0][1]) == {"code": "a", "n": 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("path: a.json, recordKey: code", "input.recordKey: needs `records`"),
        ("path: a.json, records: $.items, recordKey: code", "input.recordKey: needs `records`"),
        ('path: a.json, records: "$.items[*]", recordKey: 7', "input.recordKey: must be the name"),
        ('path: a.json, records: "$.items[*]", recordKey: ""', "input.recordKey: must be the name"),
        (
            'path: a.csv, format: csv, records: "$.items[*]", recordKey: code',
            "input.recordKey: does not apply to csv",
        ),
    ],
)
def test_a_key_without_an_object_of_records_is_refused(tmp_path: Path, words: str, says: str) -> None:
    (tmp_path / "rates.odcs.yaml").write_text(CONTRACT.format(input=f"server: files, {words}"))
    _, findings = lint_contracts(load_settings(home=tmp_path / "home", data=tmp_path, contracts=tmp_path))
    assert any(says in str(finding) for finding in findings), findings


@pytest.mark.slow
def test_a_file_is_loaded_mended_and_forgotten_by_its_keys(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CONTRACT.format(input=FILE))
    items = {"EUR": {"rate": "1.00"}, "USD": {"rate": 1.1}, "XXX": {"rate": -5}, "YYY": 7}
    report = lab.ingest("rates.rates", json.dumps({"items": items}, indent=1), "rates.json")
    assert report.outcome
    assert (report.status, report.outcome.raw, report.outcome.rejected) == ("published", 4, 2)
    assert rates(lab) == {"EUR": "1.00", "USD": "1.10"}
    kept = dict(lab.rows("SELECT line, raw FROM decant.rejected_records"))
    assert json.loads(kept[3]) == {"code": "XXX", "rate": -5}
    # The raw text of a rejected record is whole: it is replayed without its document.
    for file in lab.settings.contracts.iterdir():
        file.write_text(file.read_text().replace("minimum: 0", "minimum: -9"))
    lab = Lab(lab.settings, lab.urls)
    report = lab.loader().run(lab.dataset("rates.rates"), request=Replay())
    assert report.status == "published", report.error
    assert rates(lab) == {"EUR": "1.00", "USD": "1.10", "XXX": "-5.00"}
    report = lab.loader().run(lab.dataset("rates.rates"), request=Erase(("USD",)))
    assert report.status == "published", report.error
    assert rates(lab) == {"EUR": "1.00", "XXX": "-5.00"}
    landed = b"".join(file.read_bytes() for file in lab.landing.rglob("*") if file.is_file())
    assert (b"EUR" in landed, b"USD" in landed) == (True, False)


PAGES = [
    {"EUR": {"rate": 1}, "USD": {"rate": 1.1}},
    {"CHF": {"rate": 0.95}, "NOK": {"rate": 11.5}},
    {"SEK": {"rate": 11}},
]


def pages_of(kind: str) -> Callable[[Asked], Reply]:
    """PAGES in one of the four ways; behind the last one an empty list, as some write an empty object."""

    def answer(asked: Asked) -> Reply:
        start = int(asked.params.get(kind, "0"))
        number = {"page": start - 1, "offset": (start + 1) // 2}.get(kind, start)
        following = number + 1 if number + 1 < len(PAGES) else None
        headers = {"Link": f'<{asked.path}?link={following}>; rel="next"'} if following else {}
        items: Any = PAGES[number] if number < len(PAGES) else []
        return Reply({"items": items, "next": following}, headers=headers)

    return answer


@pytest.mark.sampled
@pytest.mark.parametrize("words", ["type: link", "type: cursor, cursor: $.next", "type: page", "type: offset"])
def test_pages_of_an_api_are_read_as_files_are(make_lab: Callable[..., Lab], remote: RemoteApi, words: str) -> None:
    lab = make_lab(CONTRACT.format(input=f"server: remote, format: json, {WHERE}, pagination: {{{words}}}"))
    remote.answer = pages_of(words.split(",")[0].removeprefix("type: "))
    report = lab.loader().run(lab.dataset("rates.rates"))
    assert report.outcome
    assert (report.status, report.outcome.raw, report.outcome.rejected) == ("published", 5, 0)
    assert rates(lab) == {"CHF": "0.95", "EUR": "1.00", "NOK": "11.50", "SEK": "11.00", "USD": "1.10"}


def test_a_packed_answer_and_one_of_another_shape(make_lab: Callable[..., Lab], remote: RemoteApi) -> None:
    lab = make_lab(CONTRACT.format(input=f"server: remote, format: json, {WHERE}"))
    remote.play(Reply(gzip.compress(json.dumps({"items": PAGES[0]}).encode())))
    assert lab.loader().run(lab.dataset("rates.rates")).status == "published"
    remote.play(Reply({"items": [{"code": "EUR", "rate": 2}]}))
    report = lab.loader().run(lab.dataset("rates.rates"))
    assert (report.status, "has a list at $.items" in (report.error or "")) == ("failed", True)
    assert rates(lab) == {"EUR": "1.00", "USD": "1.10"}
