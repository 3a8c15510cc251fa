"""The console: what an owner sees, and does, with forms that act through the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from api.portal.console.overview import describe_incident
from api.portal.console.raw_text import mark_values
from ingest.loading.run_queued import run_queued
from tests.support.keys import key_of, make_key
from tests.support.lab import PEOPLE as CONTRACT
from tests.support.lab import Lab
from tests.support.portal import SCRIPT, TURNED, load_troubled
from tests.support.visitor import OURS, Visitor, sign_in
from tests.support.waiting import wait_until

PAGES = (
    *("/console", "/console/loads", "/console/loads/1", "/console/loads/2", "/console/loads/3"),
    *("/console/rejects", "/console/rejects?state=all&load=1", "/console/withheld/2"),
    *("/console/schedules", "/console/usage", "/console/audit"),
)
FORMS = ("/console/loads", "/console/withheld/2", "/console/rejects/replay", "/console/rejects/dismiss")
PEOPLE = "/console/rejects?product=people&major=1&dataset=people"


@pytest.fixture(scope="module")
def shown(shared_labs: Callable[..., Lab]) -> Lab:
    """The product of the tests that only look."""
    return shared_labs(load_troubled)


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return load_troubled(make_lab)


@pytest.fixture
def owner(lab: Lab) -> Iterator[Visitor]:
    with lab.serve() as client:
        yield sign_in(client, make_key(lab, "people:read", "ops:read", "ops:write"))


def run(lab: Lab, answer: httpx.Response) -> str:
    """How the load ended that a form has queued."""
    assert answer.status_code == 303, answer.text
    found = re.fullmatch(r"/console/loads/([0-9]+)", answer.headers["location"])
    assert found is not None, answer.headers["location"]
    status: str = run_queued(lab.loader(), int(found[1]))
    return status


@pytest.mark.parametrize("path", PAGES)
def test_only_operators_see_the_console(shown: Lab, path: str) -> None:
    with shown.serve() as client:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=key_of(shown, "people:read", "ops:write")).status_code == 403
        page = client.get(path, headers=key_of(shown, "ops:read"))
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert SCRIPT not in page.text
        assert TURNED not in page.text
        assert "<form" not in page.text.partition("<main")[2]


@pytest.mark.parametrize("path", FORMS)
def test_who_may_only_look_can_do_nothing(shown: Lab, path: str) -> None:
    with shown.serve() as client:
        assert client.post(path, data={"x": "y"}, headers=OURS).status_code == 303
        visitor = sign_in(client, make_key(shown, "ops:read"))
        token = re.search(r'name="form" value="([^"]+)"', visitor.get("/account").text)
        assert token is not None
        place = {
            "product": "people",
            "major": "1",
            "dataset": "people",
            "what": "reason",
            "rule": "type",
            "note": "x",
        }
        answer = client.post(path, data={"form": token[1]} | place, headers=OURS)
        assert answer.status_code == 403
        assert shown.rows("SELECT count(*) FROM decant.loads") == [(3,)]


def test_the_overview_names_what_needs_somebody_and_leads_there(shown: Lab) -> None:
    with shown.serve() as client:
        page = client.get("/console", headers=key_of(shown, "ops:read")).text
    assert 'href="/console/withheld/2"' in page
    assert 'href="/console/loads/3"' in page
    assert "POST /operations" not in page.partition("<footer")[0], "people are led to pages"
    assert ">3 rejected records</a> are open" in page


def test_an_incident_without_a_page_names_its_command() -> None:
    place = {"product": None, "major": None, "dataset": None, "load_id": None}
    shown = describe_incident({"kind": "no_worker", "next": "decant worker"} | place)
    assert (shown["path"], shown["command"]) == (None, "decant worker")
    late = {"kind": "late", "next": "POST /operations/loads", "product": "a", "major": 1, "dataset": "b"}
    shown = describe_incident(late | {"load_id": None})
    assert (shown["path"], shown["command"]) == ("/console/loads?product=a&major=1&dataset=b", None)


def test_a_load_says_what_went_wrong_and_shows_the_value(shown: Lab) -> None:
    with shown.serve() as client:
        headers = key_of(shown, "ops:read")
        first = client.get("/console/loads/1", headers=headers).text
        failed = client.get("/console/loads/3", headers=headers).text
        withheld = client.get("/console/withheld/2", headers=headers).text
    assert "<mark>x</mark>" in first
    assert "parsing records" in first
    assert "source_missing" in failed
    assert "max<wbr>Deleted" in withheld
    assert "the share of current records that the load would delete" in withheld
    assert 'href="/browse/people/v1/contract#people"' in withheld
    assert "The records that make a check fail cannot be listed" in withheld
    assert "Readers keep revision 1" in withheld


@pytest.mark.slow
def test_keys_have_their_names_beside_their_ids(make_lab: Callable[..., Lab]) -> None:
    lab = load_troubled(make_lab)
    scopes = ("people:read", "ops:read", "ops:write", "keys:admin")
    with lab.serve() as client:
        reader = make_key(lab, "people:read", name="the dashboard")
        client.get("/data/people/v1/people/records", headers={"X-API-Key": reader})
        owner = sign_in(client, make_key(lab, *scopes, name="the owner"))
        key_id = reader.split("_")[1]
        wait_until(lambda: key_id in owner.get("/console/withheld/2").text)
        assert f'>the dashboard <span class="sub"><code>{key_id}</code>' in owner.get("/console/withheld/2").text
        queued = owner.send("/console/loads/3", "/console/loads").headers["location"]
        assert "asked for by the owner" in owner.get(queued).text
        assert "<td>the owner</td>" in owner.get("/console/loads").text


@pytest.mark.slow
def test_a_queued_load_says_that_it_waits_and_names_no_start(lab: Lab, owner: Visitor) -> None:
    page = owner.get(owner.send("/console/loads/3", "/console/loads").headers["location"]).text
    assert "It waits: no worker is alive." in page
    assert "<dt>Queued</dt>" in page
    assert "<dt>Started</dt>" not in page
    assert "1 load here is queued or running." in owner.get("/console/loads").text


@pytest.mark.slow
def test_the_way_to_replay_and_dismiss_stands_beside_each_reason(make_lab: Callable[..., Lab]) -> None:
    pets = CONTRACT.replace("people", "pets")
    lab = make_lab(CONTRACT, pets)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,x,\n")
    with lab.serve() as client:
        owner = sign_in(client, make_key(lab, "ops:read", "ops:write"))
        one = owner.get("/console/rejects").text
        assert 'name="id"' in one, "all are of one dataset"
        assert '<a class="button" href="/console/rejects?product=people&amp;' in one
        lab.ingest("pets.pets", "id,name,age,born\n1,Rex,x,\n", "pets.csv")
        both = owner.get("/console/rejects").text
        assert 'name="id"' not in both
        assert both.count(">Replay or dismiss<span") == 2
        assert 'href="/console/rejects?product=pets&amp;major=1&amp;dataset=pets">pets / pets</a>' in both
        assert 'name="id"' in owner.get("/console/rejects?product=pets&major=1&dataset=pets").text
        looking = client.get("/console/rejects", headers=key_of(lab, "ops:read")).text
        assert "Replay or dismiss" not in looking


@pytest.mark.parametrize("path", ["/console/loads/99", "/console/loads/x", "/console/withheld/99"])
def test_a_load_that_does_not_exist_is_not_found(shown: Lab, path: str) -> None:
    with shown.serve() as client:
        assert client.get(path, headers=key_of(shown, "ops:read")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/console/loads?status=lost",
        "/console/loads?before=x",
        "/console/loads?product=nothing",
        "/console/rejects?state=lost",
        "/console/rejects?load=x",
        "/console/usage?from=x",
    ],
)
def test_a_question_that_the_api_refuses_is_refused_on_its_page(shown: Lab, path: str) -> None:
    with shown.serve() as client:
        assert client.get(path, headers=key_of(shown, "ops:read")).status_code == 422


def test_an_owner_publishes_a_withheld_load_with_a_reason(lab: Lab, owner: Visitor) -> None:
    assert owner.send("/console/withheld/2", "/console/withheld/2", note="").status_code == 422
    answer = owner.send("/console/withheld/2", "/console/withheld/2", note="the source shrank")
    assert run(lab, answer) == "published"
    audit = owner.get("/console/audit").text
    assert "the source shrank" in audit
    assert "published a withheld load anyway" in audit
    assert ">test <span" in audit  # the key's name, of one's own key
    assert lab.rows("SELECT count(*) FROM people_v1.people") == [(1,)]
    # What is decided is decided.
    assert "was published after it" in owner.get("/console/loads/2").text
    assert owner.get("/console/withheld/2").headers["location"] == "/console/loads/2"
    decided = owner.get("/console/loads/4").text
    assert "Publishes load 2 anyway, which had been withheld. Reason: “the source shrank”" in decided
    headers = key_of(lab, "ops:write")
    again = owner.client.post("/operations/loads/2/publish", json={"anyway": True}, headers=headers)
    assert (again.status_code, "is overtaken" in again.json()["detail"]) == (422, True)


@pytest.mark.slow
def test_an_owner_dismisses_records_of_one_reason(lab: Lab, owner: Visitor) -> None:
    page = f"{PEOPLE}&rule=maximum&property=age"
    answer = owner.send(page, "/console/rejects/replay", what="reason", note="")
    assert run(lab, answer) in {"unchanged", "published"}
    refused = dismiss(owner, page, what="reason", note="")
    assert refused.status_code == 422
    assert run(lab, dismiss(owner, page, what="reason", note="test data")) == "unchanged"
    states = "SELECT state, count(*) FROM decant.rejected_records GROUP BY state ORDER BY state"
    assert lab.rows(states) == [("dismissed", 1), ("open", 2)]
    closed = owner.get(f"{PEOPLE}&state=dismissed").text
    assert "5,Eve" in closed


@pytest.mark.slow
def test_an_owner_dismisses_the_records_that_are_ticked(lab: Lab, owner: Visitor) -> None:
    ids = re.findall(r'name="id" value="([0-9]+)"', owner.get(PEOPLE).text)
    assert len(ids) == 3
    assert run(lab, dismiss(owner, PEOPLE, what="ticked", id=ids[:2], note="seen")) == "unchanged"
    assert lab.rows("SELECT count(*) FROM decant.rejected_records WHERE state = 'open'") == [(1,)]
    replayed = owner.send(PEOPLE, "/console/rejects/replay", what="ticked", id=ids, note="")
    assert run(lab, replayed) == "unchanged"
    told = owner.get(replayed.headers["location"]).text
    assert "3 chosen rejected records again" in told
    assert "of 3 chosen rejected records, 2 were no longer open" in told
    for wrong in ([], ["x"], ["9" * 30], ["99999"]):
        assert dismiss(owner, PEOPLE, what="ticked", id=wrong, note="seen").status_code == 422


def dismiss(owner: Visitor, page: str, **fields: str | list[str]) -> httpx.Response:
    """Sends the form of rejected records by its other button."""
    return owner.send(page, "/console/rejects/replay", to="/console/rejects/dismiss", **fields)


@pytest.mark.slow
def test_a_failed_load_is_loaded_again(lab: Lab, owner: Visitor) -> None:
    lab.write("missing.csv", "id\n1\n")
    assert run(lab, owner.send("/console/loads/3", "/console/loads")) == "published"


def test_a_form_that_is_sent_twice_queues_one_load(lab: Lab, owner: Visitor) -> None:
    hidden = dict(
        re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', owner.get("/console/loads/3").text)
    )
    first, second = (owner.client.post("/console/loads", data=hidden, headers=OURS) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]


@pytest.mark.parametrize(
    ("raw", "values", "pieces"),
    [
        ("1,Ann,x", ["x"], [("1,Ann,", False), ("x", True)]),
        ("x,x", ["x"], [("x", True), (",x", False)]),
        ("1,Ann", [None, ""], [("1,Ann", False)]),
        ("1,Ann", ["nowhere"], [("1,Ann", False)]),
        ("abc", ["ab", "bc"], [("ab", True), ("c", False)]),
        ("7", [7], [("7", True)]),
        ("a" * 700, ["b"], [("a" * 600 + "…", False)]),
    ],
)
def test_values_that_broke_a_rule_are_marked(raw: str, values: list[object], pieces: list[tuple[str, bool]]) -> None:
    reject = {"raw": raw, "reasons": [{"value": value} for value in values]}
    assert mark_values(reject) == pieces
