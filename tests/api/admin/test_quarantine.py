"""Quarantine over HTTP: rejected records, replays, withheld loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.admin import reject_routes
from ingest.loading.run_queued import run_queued
from tests.support.keys import key_of, make_key
from tests.support.lab import Lab
from tests.support.replays import HEAD, STRICT, mend, people, states


def test_an_operator_sees_rejected_records_and_has_them_replayed_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("mode: snapshot", "mode: upsert"))
    first = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n3,,1,\n")
    lab = mend(lab)
    with lab.serve() as client:
        assert client.get("/operations/rejects").status_code == 401
        reader = key_of(lab, "ops:read")
        writer = key_of(lab, "ops:write")
        assert client.get("/operations/rejects", headers=writer).status_code == 403
        page = client.get("/operations/rejects?product=people&dataset=people&limit=1", headers=reader).json()
        assert (page["data"][0]["line"], page["data"][0]["raw"]) == (4, "3,,1,")
        (second,) = client.get(page["next"], headers=reader).json()["data"]
        assert (second["key"], second["load"], second["state"]) == ("2", first.load_id, "open")
        found = client.get("/operations/rejects?reason=required", headers=reader).json()["data"]
        assert [record["line"] for record in found] == [4]
        assert client.get("/operations/rejects?state=lost", headers=reader).status_code == 422
        body = {"product": "people", "dataset": "people"}
        assert client.post("/operations/replays", json=body, headers=reader).status_code == 403
        assert client.post("/operations/replays", json=body | {"load": 99}, headers=writer).status_code == 422
        assert client.post("/operations/replays", json={"product": "people"}, headers=writer).status_code == 422
        queued = client.post("/operations/replays", json=body, headers=writer)
        assert queued.status_code == 202, queued.text
        (load,) = queued.json()["data"]
        assert load["kind"] == "replay"
        assert run_queued(lab.loader(), load["id"]) == "published"
    assert people(lab) == {1: ("Ann", 30), 2: ("Bo", 70)}


@pytest.mark.slow
def test_an_operator_has_some_rejected_records_replayed(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("mode: snapshot", "mode: upsert"))
    first = lab.ingest("people.people", HEAD + "1,Ann,60,\n2,Bo,70,\n3,,80,\n4,Di,x,\n5,Ed,90,\n")
    lab = mend(lab)

    def post(**chosen: Any) -> httpx.Response:
        body = {"product": "people", "dataset": "people"} | chosen
        return client.post("/operations/replays", json=body)

    def pour(**chosen: Any) -> dict[str, Any]:
        load = post(**chosen).json()["data"][0]
        assert run_queued(lab.loader(), load["id"]) in {"published", "unchanged"}
        found: dict[str, Any] = client.get(load["url"]).json()["data"]
        assert found["request"] == {"replay": chosen}
        return found

    with lab.serve() as client:
        client.headers["X-API-Key"] = make_key(lab, "ops:read", "ops:write")
        assert pour(rule="maximum", property="name")["status"] == "unchanged"  # there is none
        both = pour(ids=[2, 4])
        assert (both["raw"], both["notes"]) == (2, [])
        assert people(lab) == {2: ("Bo", 70)}
        assert [state for *_, state in states(lab)] == ["open", "replayed", "open", "open", "open"]
        again = pour(ids=[2])
        assert again["status"] == "unchanged"
        assert again["notes"] == ["of 1 chosen rejected record, 1 was no longer open"]
        assert pour(ids=[2, 4])["notes"] == ["of 2 chosen rejected records, 1 was no longer open"]
        assert pour(rule="maximum", property="age")["raw"] == 3  # 1 and 5, and 3, which lacks a name
        assert people(lab) == {1: ("Ann", 60), 2: ("Bo", 70), 5: ("Ed", 90)}
        assert [state for *_, state in states(lab)] == ["replayed", "replayed", "open", "open", "replayed"]
        ((reasons,),) = lab.rows("SELECT reasons FROM decant.rejected_records WHERE id = 3")
        assert [reason["rule"] for reason in reasons] == ["required"]
        refused: list[dict[str, Any]] = [
            {"ids": [99]}, {"ids": []}, {"property": "age"}, {"rule": "type", "load": first.load_id}, {"note": "x"},
        ]  # fmt: skip
        for chosen in refused:
            assert post(**chosen).status_code == 422, chosen


def test_rejected_records_are_filtered_and_counted_by_reason(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT)
    long = "9" * 300
    lab.ingest("people.people", HEAD + f"1,Ann,30,\n2,Bo,70,\n3,,71,\n4,,72,\n5,Ed,73,\n6,Flo,{long},\n")
    lab.rows("UPDATE decant.rejected_records SET state = 'dismissed' WHERE line = 6 RETURNING 1")
    with lab.serve() as client:
        client.headers["X-API-Key"] = make_key(lab, "ops:read")

        def lines(query: str) -> list[int]:
            return [each["line"] for each in client.get(f"/operations/rejects?{query}").json()["data"]]

        assert lines("rule=maximum") == [5, 4, 3]
        assert lines("rule=maximum&property=age") == [5, 4, 3]
        assert lines("rule=maximum&property=name") == []
        assert lines("property=name") == [5, 4]
        assert lines("property=name&rule=required&load=1") == [5, 4]
        assert lines("property=name&load=2") == []
        assert lines("rule=maximum&state=dismissed") == [6]
        assert lines("reason=age:%20maximum") == [5, 4, 3]
        summary = client.get("/operations/rejects/reasons").json()
        first, second, third = summary["data"]
        assert (summary["reasons"], summary["count"]) == (3, {"value": 4, "exact": True})
        assert [(each["property"], each["rule"], each["records"]) for each in summary["data"]] == [
            ("age", "maximum", 3),
            ("name", "required", 2),
            ("age", "type", 1),
        ]
        assert [sample["line"] for sample in first["samples"]] == [5, 4, 3]
        assert first["samples"][0] == {
            "id": 3, "load": 1, "file": "people.csv", "line": 5, "key": "4", "value": "72",
            "message": first["samples"][0]["message"], "raw": "4,,72,",
        }  # fmt: skip
        assert first["first_seen"] <= first["last_seen"]
        assert [sample["raw"] for sample in second["samples"]] == ["4,,72,", "3,,71,"]
        (sample,) = third["samples"]
        assert (sample["raw"], sample["value"]) == (f"6,Flo,{long}"[:200], long[:200])
        everything = client.get("/operations/rejects/reasons?state=all&limit=1").json()
        assert (everything["data"][0]["records"], len(everything["data"]), everything["reasons"]) == (4, 1, 3)
        assert len(everything["data"][0]["samples"]) == 3
        place = "product=people&major=1&dataset=people&state=replayed"
        assert client.get(f"/operations/rejects/reasons?{place}").json() == {
            "data": [],
            "reasons": 0,
            "count": {"value": 0, "exact": True},
        }
        for query in (
            "state=lost",
            "product=x",
            "major=2",
            "dataset=x",
            "limit=0",
            "limit=1001",
            "rule=x",
            "state=%00",
        ):
            assert client.get(f"/operations/rejects/reasons?{query}").status_code == 422, query


@pytest.mark.slow
def test_of_more_records_than_can_be_counted_the_latest_are(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(STRICT)
    lab.ingest("people.people", HEAD + "1,Ann,x,\n2,Bo,70,\n3,,71,\n4,,72,\n")
    lab.rows(
        "INSERT INTO decant.rejected_records (dataset_id, load_id, file, line, raw, raw_sha256, reasons)"
        " SELECT dataset_id, load_id, file, 100 + n, raw, 'x' || n,"
        # A reason without a property, and one that is said twice.
        """ CASE WHEN n = 1 THEN '[{"rule": "a"}, {"rule": "b", "property": "p"}]'"""
        """ WHEN n = 2 THEN '[{"rule": "a", "property": "p"}, {"rule": "b"}]'"""
        """ ELSE '[{"rule": "c", "property": "p"}, {"rule": "c", "property": "p"}]' END::jsonb"""
        " FROM decant.rejected_records, generate_series(1, 3) AS n WHERE line = 2 RETURNING 1"
    )
    with lab.serve() as client:
        client.headers["X-API-Key"] = make_key(lab, "ops:read")

        def ask() -> tuple[dict[tuple[str | None, str], tuple[int, list[int]]], dict[str, Any]]:
            found = client.get("/operations/rejects/reasons").json()
            rows = found["data"]
            assert len(rows) == found["reasons"]
            return {
                (row["property"], row["rule"]): (row["records"], [sample["line"] for sample in row["samples"]])
                for row in rows
            }, found["count"]

        added = {
            (None, "a"): (1, [101]),
            ("p", "b"): (1, [101]),
            ("p", "a"): (1, [102]),
            (None, "b"): (1, [102]),
            ("p", "c"): (1, [103]),
        }
        loaded = {
            ("age", "maximum"): (3, [5, 4, 3]),
            ("age", "type"): (1, [2]),
            ("name", "required"): (2, [5, 4]),
        }
        assert ask() == (loaded | added, {"value": 7, "exact": True})
        monkeypatch.setattr(reject_routes, "COUNTED_MAXIMUM", 5)
        latest = {("age", "maximum"): (2, [5, 4]), ("name", "required"): (2, [5, 4])}
        assert ask() == (latest | added, {"value": 5, "exact": False})
        page = client.get("/console/rejects").text
        assert "The latest 5 records are counted" in page


def test_an_operator_publishes_what_a_gate_held_back(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("maxRejected, value: 100", "maxRejected, value: 10"))
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n")
    with lab.serve() as client:
        writer = key_of(lab, "ops:write")
        url = f"/operations/loads/{withheld.load_id}/publish"
        assert client.post(url, json={}, headers=writer).status_code == 422
        assert client.post("/operations/loads/99/publish", json={"anyway": True}, headers=writer).status_code == 404
        for note in ("", "a\nb", 1):
            assert client.post(url, json={"anyway": True, "note": note}, headers=writer).status_code == 422
        body = {"anyway": True, "note": "checked with the source"}
        queued = client.post(url, json=body, headers=writer)
        assert queued.status_code == 202, queued.text
        assert run_queued(lab.loader(), queued.json()["data"][0]["id"]) == "published"
    assert people(lab) == {1: ("Ann", 30)}
    noted = lab.rows("SELECT facts -> 'publish', facts ->> 'note' FROM decant.audit_log")
    assert noted == [(withheld.load_id, body["note"])]
