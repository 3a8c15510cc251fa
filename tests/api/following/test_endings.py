"""Why streams of revisions end: credentials, erasures, restores, and the service itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from api.auth.jwt import TokenVerifier
from api.auth.recent_lookups import SECONDS as KEPT_SECONDS
from api.database import published_heads
from api.following import rights
from catalog.model.load_request import Erase
from tests.support.following import FOLLOW, Address, fetch, following, publish, slow_reader, told
from tests.support.issuer import Clock, run_issuer
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.routes import CLOSED
from tests.support.serve_process import serving as serving_process
from tests.support.sockets import serving

OVERDUE = "graceful shutdown exceeded"  # what the server logs of what it had to cut off
REVOKED_SECONDS = 5.0


@pytest.fixture
def served(lab: Lab) -> Iterator[Address]:
    """The service of a product with one revision."""
    publish(lab, "Ann", "Ben")
    with serving(lab) as address:
        yield address


def test_streams_end_with_the_credential(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CLOSED)
    publish(lab, "Ann")
    revoked, kept = make_key(lab, "people:read"), make_key(lab, "people:read")
    expired, narrowed = make_key(lab, "people:read"), make_key(lab, "people:read")
    keys = (revoked, expired, narrowed, kept)
    with serving(lab) as address, ExitStack() as held:
        streams = [held.enter_context(following(address, x_api_key=key)) for key in keys]
        assert [told(stream)[0] for stream in streams] == [1, 1, 1, 1]
        for change, key in (
            ("revoked_at = now()", revoked),
            ("expires_at = now()", expired),
            ("scopes = '[\"others:read\"]'", narrowed),
        ):
            lab.rows(f"UPDATE decant.api_keys SET {change} WHERE id = %s RETURNING id", key.split("_")[1])
        assert [stream.ending() for stream in streams[:3]] == ["unauthorized", "unauthorized", "not_found"]
        publish(lab, "Ben")
        assert told(streams[3]) == (2, "since=1&at=2")
    # A stream may begin with what was found of its key a while before.
    assert KEPT_SECONDS + rights.JUDGED_SECONDS <= REVOKED_SECONDS
    assert rights.BELIEVED_SECONDS < REVOKED_SECONDS


def test_streams_end_with_the_token(make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setitem(TokenVerifier.__init__.__kwdefaults__, "wall", clock)
    with run_issuer() as issuer:
        lab = make_lab(CLOSED, token_issuers=(issuer.settings(),))
        publish(lab, "Ann")
        text = issuer.token(scope="people:read")
        with serving(lab) as address, following(address, authorization=f"Bearer {text}") as stream:
            assert told(stream) == (1, "since=0&at=1")
            publish(lab, "Ben")
            assert told(stream) == (2, "since=1&at=2")
            clock.now += 3600
            assert stream.ending() == "unauthorized"


def test_a_credential_that_cannot_be_judged_ends_its_stream_alone(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "JUDGED_SECONDS", 0.1)
    monkeypatch.setattr(rights, "BELIEVED_SECONDS", 0.5)
    lab = make_lab()
    publish(lab, "Ann")
    with serving(lab) as address:
        key = make_key(lab, "people:read")
        with following(address, x_api_key=key) as keyed, following(address) as anonymous:
            assert told(keyed)[0] == told(anonymous)[0] == 1
            with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
                connection.execute("ALTER TABLE decant.api_keys RENAME TO moved")
            assert keyed.ending() == "unavailable"
            publish(lab, "Ben")
            assert told(anonymous) == (2, "since=1&at=2")


def test_an_erasure_ends_streams_because_copies_begin_anew(lab: Lab, served: Address) -> None:
    with following(served) as stream:
        assert told(stream)[0] == 1
        report = lab.loader().run(lab.dataset("people.people"), request=Erase(("2",)))
        assert report.status == "published"
        assert stream.ending() == "revision_gone"
    gone = fetch(served, FOLLOW, last_event_id="1")
    assert (gone.status_code, gone.json()["code"]) == (410, "revision_gone")
    with following(served, "?since=0") as stream:
        assert told(stream) == (2, "since=0&at=2")


def test_a_restored_database_and_a_removed_dataset_end_streams(
    lab: Lab, served: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    with following(served) as stream:
        assert told(stream)[0] == 1
        lab.rows("INSERT INTO decant.epochs (epoch, reason) VALUES ('0badcafe', 'a test') RETURNING id")
        assert stream.ending() == "epoch_ended"
    with following(served, "?since=1&epoch=0badcafe") as stream:
        monkeypatch.setattr(published_heads, "WHOLE_SECONDS", 0.0)
        lab.rows("UPDATE decant.datasets SET dataset = 'elsewhere' WHERE dataset = 'people' RETURNING id")
        assert stream.ending() == "dataset_removed"


def test_a_service_that_stops_says_so_and_does_not_wait(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    publish(lab, "Ann")
    with ExitStack() as held:
        with serving(lab) as address:
            stream = held.enter_context(following(address))
            assert told(stream)[0] == 1
            held.enter_context(slow_reader(address))
        assert OVERDUE not in caplog.text
        assert stream.ending() == "service_stopped"


@pytest.mark.slow
def test_the_command_ends_promptly_with_followers_of_several_processes(lab: Lab) -> None:
    publish(lab, "Ann")
    with serving_process(lab, "--workers", "2") as (process, base), ExitStack() as held:
        host, _, port = base.removeprefix("http://").partition(":")
        streams = [held.enter_context(following((host, int(port)))) for _ in range(6)]
        publish(lab, "Ben")
        for stream in streams:
            assert [event.id for event in stream.until(2)][-1] == 2
        process.terminate()
        assert [stream.ending() for stream in streams] == ["service_stopped"] * len(streams)
        process.wait(60)
        assert process.stderr is not None
        assert OVERDUE not in process.stderr.read()
