"""The log of requests and of security events: what is written, what never is, and what is counted."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import time
from collections.abc import Callable

import httpx
import psycopg
import pytest

from api.observability.access_log import LINES_AT_ONCE, AccessLog
from runtime.errors import SettingsError
from runtime.settings.settings import load_settings
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.serve_process import counted, serving

RECORDS = "/data/people/v1/people/records"
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info request method=(\w+) kind=(\w+) route=(\S+) status=(\d+)"
    r" bytes=(\d+) ms=[\d.]+(?: principal=(\S+))? trace=[0-9a-f]{32}"
)


@pytest.mark.slow
def test_serve_writes_a_line_for_each_request_without_values(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    key = make_key(lab, "people:read")
    with serving(lab) as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        size = len(client.get(RECORDS, params={"name": "Secret"}, headers={"Accept-Encoding": "identity"}).content)
        client.get(f"{RECORDS}/4711", headers={"X-API-Key": key})
        client.post("/operations/loads", content="{}")
        client.get("/nowhere/%0Ainfo%20forged?x=%0Aforged")
        client.get(RECORDS, headers={"X-API-Key": b"dcnt_" + b"x" * 60 + b"\t\x80"})
        process.terminate()
        _, log = process.communicate(timeout=60)
    found = [match.groups() for match in map(LINE.fullmatch, log.splitlines()) if match]
    assert [(method, kind, int(status)) for method, kind, _, status, _, _ in found] == [
        ("GET", "records", 200),
        ("GET", "record", 404),
        ("POST", "post_loads", 401),
        ("GET", "unknown", 404),
        ("GET", "records", 401),
    ]
    assert int(found[0][4]) == size
    assert [line[5] for line in found] == [None, key.split("_")[1], None, None, None]
    for word in ("Secret", "4711", "forged", key, "xxxx"):
        assert word not in log
    assert re.search(r"warning authentication_failed reason=malformed address=127\.0\.0\.1", log)


@pytest.mark.slow
def test_the_trace_of_a_problem_leads_to_its_line_whatever_broke(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    with serving(lab) as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        answers = [client.get(f"{RECORDS}/4711"), client.get(f"{RECORDS}?nothing=1"), client.get("/nowhere")]
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("ALTER TABLE people_v1.people RENAME age TO years")
        answers += [client.get(f"{RECORDS}?limit=2"), client.get("/data/people/v1/people/export?format=csv&id=1")]
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert [answer.status_code for answer in answers] == [404, 422, 404, 500, 500]
    lines = [match for match in map(LINE.fullmatch, log.splitlines()) if match]
    for answer, line in zip(answers, lines, strict=True):
        trace = answer.json()["trace_id"]
        assert answer.headers["traceresponse"][3:35] == trace
        assert line[0].endswith(f" trace={trace}")
        assert (int(line[4]), int(line[5])) == (answer.status_code, len(answer.content))
        # What broke is told to the log alone, under the same trace.
        assert log.count(f"\ntrace {trace}\n") == (answer.status_code == 500)
    assert log.count("Traceback (most recent call last)") >= 2


def test_lines_are_written_at_once_where_there_are_many() -> None:
    async def fill() -> tuple[int, int]:
        stream = io.StringIO()
        log = AccessLog(stream)
        for _ in range(LINES_AT_ONCE - 1):
            log.note({"method": "GET"}, "records", 200, 1, 0.001, "00-" + "0" * 32 + "-x")
        before = stream.getvalue().count("\n")
        log.note({"method": "GET"}, "records", 200, 1, 0.001, "00-" + "0" * 32 + "-x")
        return before, stream.getvalue().count("\n")

    assert asyncio.run(fill()) == (0, LINES_AT_ONCE)


def test_security_events_are_written_and_counted_and_hold_no_secret(
    make_lab: Callable[..., Lab], caplog: pytest.LogCaptureFixture
) -> None:
    lab = make_lab(PEOPLE, rate_limit_default="3/day", metrics_open=True)
    good, revoked, expired = (make_key(lab, "people:read") for _ in range(3))
    lab.rows("UPDATE decant.api_keys SET revoked_at = now() WHERE id = %s RETURNING 1", revoked.split("_")[1])
    lab.rows(
        "UPDATE decant.api_keys SET expires_at = now() - interval '1 s' WHERE id = %s RETURNING 1",
        expired.split("_")[1],
    )
    sent = {
        "revoked": revoked,
        "expired": expired,
        "malformed": good[:-1] + ("0" if good[-1] != "0" else "1"),
    }
    caplog.set_level(logging.INFO, "decant.security")
    with lab.serve() as client:
        before = client.get("/metrics").text
        for key in sent.values():
            assert client.get(RECORDS, headers={"X-API-Key": key}).status_code == 401
        assert client.get("/data/other/v1/x/records").status_code == 401  # no credential: nothing has failed
        assert client.get("/operations/loads", headers={"X-API-Key": good}).status_code == 403
        assert client.get(RECORDS, params={"api_key": good}).status_code == 400
        for _ in range(3):
            last = client.get(RECORDS, headers={"X-API-Key": good}).status_code
        assert last == 429
        after = client.get("/metrics").text
    facts = [(record.getMessage(), record.facts) for record in caplog.records]  # type: ignore[attr-defined]
    assert [(event, fact["reason"]) for event, fact in facts if event == "authentication_failed"] == [
        ("authentication_failed", reason) for reason in sent
    ]
    assert {event for event, _ in facts} == {
        "authentication_failed", "scope_refused", "credential_in_url", "rate_limited",
    }  # fmt: skip
    assert all(fact["address"] == "127.0.0.1" for _, fact in facts)
    assert [fact["principal"] for event, fact in facts if event == "scope_refused"] == [good.split("_")[1]]
    assert not [key for key in (good, *sent.values()) if key.split("_")[2] in str(facts)]
    pattern = 'decant_security_events_total{{event="{}"}} '
    for event, number in (("authentication_failed", 3), ("scope_refused", 1), ("credential_in_url", 1)):
        told = [float(text.partition(pattern.format(event))[2].partition("\n")[0] or 0) for text in (before, after)]
        assert told[1] - told[0] == number
    assert counted(after, "decant_security_events_total") >= 6


def test_whom_to_tell_of_weaknesses_stands_in_security_txt(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, security_contact="mailto:security@example.org", public_url="https://data.example.org/")
    with lab.serve() as client:
        answer = client.get("/.well-known/security.txt")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
        assert fields["Contact"] == "mailto:security@example.org"
        assert fields["Canonical"] == "https://data.example.org/.well-known/security.txt"
        expires = time.mktime(time.strptime(fields["Expires"], "%Y-%m-%dT%H:%M:%SZ"))
        assert 86_400 * 100 < expires - time.time() < 86_400 * 365
    with make_lab().serve() as client:
        answer = client.get("/.well-known/security.txt")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "contact", ["security@example.org", "http://example.org", "mailto:a@b\nExpires: x", "mailto:"]
)
def test_a_contact_is_an_address(contact: str) -> None:
    with pytest.raises(SettingsError, match="DECANT_SECURITY_CONTACT"):
        load_settings(security_contact=contact)
