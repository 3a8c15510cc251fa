"""Streams of revisions over real sockets: what is told, to whom, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime

import httpx
import pytest

from api.database import published_heads
from api.following import follower
from tests.support.following import FOLLOW, Address, fetch, following, publish, slow_reader, told
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.routes import CLOSED
from tests.support.sockets import ask, serving
from tests.support.waiting import wait_until

RECORDS = "/data/people/v1/people"
FOLLOWERS = 25
PUBLICATIONS = 20


@pytest.fixture
def served(lab: Lab) -> Iterator[Address]:
    """The service of a product with one revision."""
    publish(lab, "Ann", "Ben")
    with serving(lab) as address:
        yield address


def test_a_follower_is_told_of_the_current_revision_and_of_each_that_follows(lab: Lab, served: Address) -> None:
    with following(served, accept_encoding="gzip, zstd") as stream:
        fields = stream.answer.headers
        assert fields["content-type"].partition(";")[0] == "text/event-stream"
        assert (fields["cache-control"], fields["x-accel-buffering"]) == ("no-cache, no-store", "no")
        assert "content-encoding" not in fields
        assert fields["decant-revision"] == "1"
        first = stream.next()
        assert first is not None
        assert (len(stream.retries), stream.comments) == (1, ["quiet"])
        publish(lab, "Ann", "Bob", "Cid")
        second = stream.next()
        assert second is not None
        publish(lab, "Ann")
        third = stream.next()
        assert third is not None
        assert len(stream.retries) == 1
    revisions = fetch(served, f"{RECORDS}/revisions").json()["data"]
    epoch = fields["decant-epoch"]
    for event, since, listed in zip((first, second, third), (0, 1, 2), reversed(revisions), strict=True):
        changes = f"{RECORDS}/changes?since={since}&at={event.id}&epoch={epoch}"
        place = {"product": "people", "major": 1, "dataset": "people", "epoch": epoch, "changes": changes}
        assert (event.name, event.id) == ("revision", since + 1)
        # One of them leaves out zeros at the end of the microseconds.
        times = [datetime.fromisoformat(facts.pop("published_at")) for facts in (event.data, listed)]
        assert times[0] == times[1]
        assert listed.pop("published_anyway") is False
        assert event.data == place | listed
        walked = fetch(served, changes).json()
        assert (walked["next_since"], len(walked["data"])) == (
            event.id,
            listed["inserted"] + listed["updated"] + listed["deleted"],
        )


def test_a_stream_goes_on_where_the_follower_says(lab: Lab, served: Address) -> None:
    publish(lab, "Ann", "Bob")
    with following(served, "?since=1") as stream:
        assert told(stream) == (2, "since=1&at=2")
    # Clients send the header along with the address that they began with.
    with following(served, "?since=0", last_event_id="1") as stream:
        assert told(stream) == (2, "since=1&at=2")
    epoch = fetch(served, f"{RECORDS}/records").headers["decant-epoch"]
    with following(served, f"?since=2&epoch={epoch}") as stream, following(served, last_event_id="2") as other:
        publish(lab, "Ann", "Cid")
        for each in (stream, other):
            assert told(each) == (3, "since=2&at=3")


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?since=x", {}, 422, "invalid_value"),
        ("?since=-1", {}, 422, "invalid_value"),
        ("?since=2", {}, 422, "invalid_value"),
        ("", {"last_event_id": "x"}, 422, "invalid_value"),
        ("", {"last_event_id": "2"}, 422, "invalid_value"),
        ("", {"last_event_id": "9" * 19}, 422, "invalid_value"),
        ("?since=1&since=1", {}, 422, "duplicate_parameter"),
        ("?limit=1", {}, 422, "unknown_parameter"),
        ("?since=1&epoch=00000000", {}, 410, "epoch_ended"),
        ("?epoch=x", {}, 422, "invalid_value"),
        ("", {"accept": "application/json"}, 406, "not_acceptable"),
    ],
)
def test_what_is_wrong_with_a_request_is_a_problem(
    product: Callable[[Callable[..., Lab]], Lab], query: str, headers: dict[str, str], status: int, code: str
) -> None:
    with product(load_people).serve() as client:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.get(FOLLOW + query, headers=fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        named = {"since": "since", "last_event_id": "Last-Event-ID"}
        for name in [*headers, query[1:6]]:
            if code == "invalid_value" and name in named:
                assert answer.json()["errors"][0]["parameter"] == named[name]


def load_people(make_lab: Callable[..., Lab]) -> Lab:
    """A product with one revision."""
    lab = make_lab()
    publish(lab, "Ann")
    return lab


def test_a_head_request_and_http_1_0_are_answered_as_well(lab: Lab, served: Address) -> None:
    head = httpx.head(f"http://{served[0]}:{served[1]}{FOLLOW}")
    assert (head.status_code, head.headers["decant-revision"], head.content) == (200, "1", b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    with following(served) as stream:
        publish(lab, "Ann")
        assert [event.id for event in stream.until(2)] == [1, 2]
    request = f"GET {FOLLOW}?since=0 HTTP/1.0\r\n\r\n".encode()
    status, fields, body = ask(served, request)
    assert (status, "transfer-encoding" in fields) == (200, False)
    assert body.startswith(b"retry: ") or body == b""


def test_before_the_first_publication_nothing_is_told(lab: Lab) -> None:
    with serving(lab) as address, following(address) as stream:
        publish(lab, "Ann")
        assert told(stream) == (1, "since=0&at=1")


@pytest.mark.slow
def test_all_followers_get_the_last_revision_and_a_slow_one_no_backlog(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(followers_of_address=FOLLOWERS + 1)
    publish(lab, "Ann 1")
    with serving(lab) as address, ExitStack() as held:
        streams = [held.enter_context(following(address)) for _ in range(FOLLOWERS)]
        slow = held.enter_context(slow_reader(address))
        for number in range(2, PUBLICATIONS + 1):
            assert publish(lab, f"Ann {number}") == number
        contents: dict[int, set[str]] = {}
        for stream in streams:
            known = 0
            for event in stream.until(PUBLICATIONS):
                assert event.id is not None
                assert event.id > known
                assert event.data["revision"] == event.id
                assert f"since={known}&at={event.id}&" in event.data["changes"]
                known = event.id
                facts = {name: value for name, value in event.data.items() if name != "changes"}
                contents.setdefault(event.id, set()).add(str(facts))
        assert all(len(texts) == 1 for texts in contents.values())
        data = b""
        while f"id: {PUBLICATIONS}\n".encode() not in data:
            piece = slow.recv(65_536)
            assert piece
            data += piece
        ids = [int(line[4:]) for line in data.split(b"\n") if line.startswith(b"id: ")]
        assert ids == sorted(set(ids))
        assert len(ids) < PUBLICATIONS


@pytest.mark.slow
def test_one_that_reads_nothing_is_let_go(make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "QUIET_SECONDS", 0.0005)
    lab = make_lab(followers_of_address=1, send_timeout_seconds=1)
    publish(lab, "Ann")
    with serving(lab) as address, slow_reader(address):
        with following(address) as refused:
            assert refused.answer.status_code == 429
            assert refused.answer.json()["code"] == "rate_limited"
            assert int(refused.answer.headers["retry-after"]) >= 1

        def has_room() -> bool:
            with following(address) as stream:
                return stream.answer.status_code == 200

        wait_until(has_room)


def test_a_follower_that_hangs_up_leaves_its_place(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(followers_of_address=1, followers_limit=1)
    publish(lab, "Ann")
    with serving(lab) as address:

        def takes_the_place() -> bool:
            with following(address) as stream:
                return stream.answer.status_code == 200 and told(stream) == (1, "since=0&at=1")

        for _ in range(4):
            wait_until(takes_the_place)


def test_one_principal_has_so_many_streams_and_a_process_too(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(followers_of_address=2, followers_of_principal=1, followers_limit=3)
    publish(lab, "Ann")
    ann, ben = make_key(lab, "people:read"), make_key(lab, "people:read")
    with serving(lab) as address, ExitStack() as held:

        def opened(key: str | None = None) -> int:
            headers = {"x_api_key": key} if key else {}
            stream = held.enter_context(following(address, **headers))
            if stream.answer.status_code != 200:
                assert int(stream.answer.headers["retry-after"]) >= 1
            return stream.answer.status_code

        assert [opened(), opened(), opened()] == [200, 200, 429]
        assert [opened(ann), opened(ann)] == [200, 429]
        assert opened(ben) == 503


def test_a_follower_of_some_records_gets_no_counts(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CLOSED)
    publish(lab, "Ann")
    with serving(lab) as address, following(address, x_api_key=make_key(lab, "people:role:young")) as stream:
        event = stream.next()
        assert event is not None
        assert set(event.data) == {"product", "major", "dataset", "revision", "epoch", "published_at", "changes"}


def test_where_nobody_notifies_followers_are_told_by_the_poll(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cannot(_connection: object) -> bool:
        return False

    monkeypatch.setattr(published_heads, "listen", cannot)
    publish(lab, "Ann")
    with serving(lab) as address, following(address) as stream:
        assert told(stream)[0] == 1
        publish(lab, "Ben")
        assert told(stream) == (2, "since=1&at=2")
