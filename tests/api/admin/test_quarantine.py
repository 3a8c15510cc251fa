"""Quarantine over HTTP: rejected records, replays, withheld loads."""

from __future__ import annotations

from collections.abc import Callable

from ingest.loading.run_queued import run_queued
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.replays import HEAD, STRICT, mend, people


def test_an_operator_sees_rejected_records_and_has_them_replayed_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("mode: snapshot", "mode: upsert"))
    first = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n3,,1,\n")
    lab = mend(lab)
    with lab.serve() as client:
        assert client.get("/operations/rejects").status_code == 401
        reader = {"X-API-Key": make_key(lab, "ops:read")}
        writer = {"X-API-Key": make_key(lab, "ops:write")}
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


def test_an_operator_publishes_what_a_gate_held_back(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("maxRejected, value: 100", "maxRejected, value: 10"))
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n")
    with lab.serve() as client:
        writer = {"X-API-Key": make_key(lab, "ops:write")}
        url = f"/operations/loads/{withheld.load_id}/publish"
        assert client.post(url, json={}, headers=writer).status_code == 422
        assert client.post("/operations/loads/99/publish", json={"anyway": True}, headers=writer).status_code == 404
        queued = client.post(url, json={"anyway": True}, headers=writer)
        assert queued.status_code == 202, queued.text
        assert run_queued(lab.loader(), queued.json()["data"][0]["id"]) == "published"
    assert people(lab) == {1: ("Ann", 30)}
    assert lab.rows("SELECT facts -> 'publish' FROM decant.audit_log") == [(withheld.load_id,)]
