"""Webhooks sent to real receivers: what arrives and how it is signed, retries, the end of subscriptions, kills."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from catalog.storage.webhook_secrets import add_secret
from ingest.delivery.outcomes import tidy_deliveries
from ingest.delivery.retries import WAITS_SECONDS
from ingest.ledger.outbox import number_events, prune_outbox
from runtime.postgres.database import make_engine
from runtime.settings.secret import read_secret
from runtime.settings.settings import PROJECT_ROOT
from tests.support.command_line import DECANT
from tests.support.lab import PEOPLE, Lab
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api
from tests.support.telemetry import environment
from tests.support.tools import free_port, get_tool, give, make_folder, run_tool
from tests.support.webhooks import Sender, event_of, revisions

LIMITED = PEOPLE.replace(
    '  - {role: "people:read", access: read, customProperties: [{property: anonymous, value: true}]}\n',
    '  - {role: young, access: read, customProperties: [{property: rows, value: "age < 40"}]}\n',
)
STRICT = PEOPLE.replace("{property: maxRejected, value: 100}", "{property: maxRejected, value: 10}")
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
OK = Reply(status=204)
BROKEN = Reply(b"out of \x1b[31morder", 500)


@pytest.fixture
def receiver() -> Iterator[RemoteApi]:
    with run_remote_api() as api:
        api.play(OK)
        yield api


@pytest.fixture
def sender(lab: Lab) -> Sender:
    return Sender(lab)


def test_an_event_is_a_cloud_event_that_the_public_libraries_verify(sender: Sender, receiver: RemoteApi) -> None:
    subscription, secret = sender.subscribe(f"{receiver.url}/hook?a=b")
    sender.publish()
    assert sender.send() == 1
    (asked,) = receiver.asked
    assert (asked.method, asked.path, asked.params) == ("POST", "/hook", {"a": "b"})
    verified = Webhook(secret).verify(asked.body, asked.headers)
    event = from_structured(HTTPMessage(asked.headers, asked.body), JSONFormat())
    assert verified["id"] == event.get_id() == asked.headers["webhook-id"]
    assert event.get_type() == "io.decant.revision.published"
    assert event.get_source() == "/data/people/v1/people"
    assert event.get_subject() == "revisions/1"
    ((epoch, at),) = sender.lab.rows("SELECT epoch, published_at FROM decant.epochs, decant.revisions")
    assert abs((event.get_time() - at).total_seconds()) < 0.001
    counts = {"inserted": 1, "updated": 0, "deleted": 0, "records": 1}
    data = {"product": "people", "major": 1, "dataset": "people", "revision": 1, "epoch": epoch, "load": 1}
    assert event.get_data() == data | {"counts": counts}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(asked.body.replace(b"people", b"peopl3"), asked.headers)
    (entry,) = sender.log(subscription)
    assert (entry["delivered"], entry["status"], entry["attempt"], entry["revision"]) == (True, 204, 1, 1)
    assert entry["message_id"] == event.get_id()
    assert sender.send(DAY) == 0


def test_the_receiver_of_the_how_to_takes_what_is_signed_and_nothing_else(
    sender: Sender, receiver: RemoteApi
) -> None:
    text = (PROJECT_ROOT / "docs/how-to/webhooks.md").read_text()
    namespace: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)[0], namespace)
    _, secret = sender.subscribe(receiver.url)
    sender.publish()
    sender.send()
    (asked,) = receiver.asked
    assert namespace["receive"](secret, asked.body, asked.headers) == 204
    assert namespace["receive"](secret, asked.body + b" ", asked.headers) == 401


def test_the_receiver_for_node_takes_what_is_signed_and_nothing_else(sender: Sender) -> None:
    text = (PROJECT_ROOT / "docs/how-to/webhooks.md").read_text()
    port = free_port()
    script = re.findall(r"^```js\n(.*?)^```$", text, re.M | re.S)[0].replace("3000", f'{port}, "127.0.0.1"')
    address = f"http://127.0.0.1:{port}/decant"
    subscription, secret = sender.subscribe(address)
    tool = get_tool("node")
    given = replace(tool, environment=tool.environment | {"WEBHOOK_SECRET": secret})

    def post(body: str, at: datetime, **changes: str) -> int:
        signature = Webhook(secret).sign("m1", at, '{"type": "t", "subject": "s"}')
        headers = {"webhook-id": "m1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
        headers |= {f"webhook-{name}": value for name, value in changes.items()}
        return httpx.post(address, content=body, headers=headers).status_code

    with make_folder() as folder, run_tool(given, ["--input-type=module", "-e", script], give(folder), port):
        sender.publish()
        assert sender.send() == 1
        assert [entry["status"] for entry in sender.log(subscription)] == [204]
        body, now = '{"type": "t", "subject": "s"}', datetime.now(UTC)
        assert post(body, now) == 204
        assert {
            post(body + " ", now),
            post(body, now - timedelta(minutes=6)),
            post(body, now, id="m2"),
            post(body, now, signature="v1,"),
            post(body, now, signature=""),
            post(body, now, timestamp=""),
        } == {401}
        printed = (folder / "log").read_text().splitlines()
    assert printed == ["io.decant.revision.published revisions/1", "t s"]


@pytest.mark.slow
def test_a_secret_that_is_rotated_signs_for_another_day(sender: Sender, receiver: RemoteApi) -> None:
    subscription, old = sender.subscribe(receiver.url)
    kept = sender.row(subscription)["secrets"]
    assert old.removeprefix("whsec_") not in json.dumps(kept)
    new, both = add_secret(read_secret(sender.lab.settings), subscription, kept, sender.now)
    sender.lab.rows("UPDATE decant.subscriptions SET secrets = %s RETURNING id", json.dumps(both))
    sender.publish()
    sender.send()
    for secret in (old, new):
        Webhook(secret).verify(receiver.asked[0].body, receiver.asked[0].headers)
    sender.publish()
    sender.send(DAY)
    assert len(receiver.asked[1].headers["webhook-signature"].split()) == 1


def test_a_worker_with_another_secret_sends_nothing_that_is_signed_wrongly(
    lab: Lab, sender: Sender, receiver: RemoteApi
) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish()
    (lab.settings.home / "secret").write_text("another one")
    assert sender.send() == 1
    assert receiver.asked == []
    assert "DECANT_SECRET" in sender.row(subscription)["reason"]
    assert sender.row(subscription)["active"]


@pytest.mark.slow
def test_retries_wait_longer_and_longer_and_end_after_three_days_with_a_note(
    sender: Sender, receiver: RemoteApi
) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    receiver.play(BROKEN)
    sender.publish()
    started = sender.now
    for wait in WAITS_SECONDS:
        assert sender.send() == 1
        row = sender.row(subscription)
        due = (row["retry_at"] - sender.now).total_seconds()
        assert wait <= due <= wait * 1.1
        assert sender.send(timedelta(seconds=wait * 0.99)) == 0
        sender.now = row["retry_at"]
    assert timedelta(days=2.9) < sender.now - started < timedelta(days=3.5)
    assert sender.send() == 1
    row = sender.row(subscription)
    assert not row["active"]
    assert "10 attempts in a row failed" in row["reason"]
    assert r"answered 500 Internal Server Error: out of \x1b[31morder" in row["reason"]
    assert sender.lab.rows(
        "SELECT facts->>'subscription' FROM decant.outbox WHERE kind = 'subscription.disabled'"
    ) == [(subscription,)]
    audited = "SELECT operation, login FROM decant.audit_log"
    assert sender.lab.rows(audited) == [("subscription disabled", "decant_ingest")]
    assert {each.headers["webhook-id"] for each in receiver.asked} == {receiver.asked[0].headers["webhook-id"]}
    assert len({each.body for each in receiver.asked}) == 1
    assert [entry["attempt"] for entry in sender.log(subscription)] == list(range(1, 11))
    assert sender.send(30 * DAY) == 0


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("reply", "words", "least"),
    [
        (Reply(b"", 302, {"Location": "http://127.0.0.1:1/"}), "redirects are not followed", 5),
        (Reply(b"slow down", 429, {"Retry-After": "120"}), "429 Too Many Requests: slow down", 120),
        (Reply(b"", 503, {"Retry-After": "99999999"}), "503 Service Unavailable", 86_400),
        (Reply(b"x" * 100_000, 400), f"400 Bad Request: {'x' * 200}…", 5),
        (Reply(raw=b""), "interrupted", 5),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le"), "interrupted", 5),
        (Reply(raw=b"SSH-2.0-hello\r\n\r\n"), "not valid HTTP", 5),
    ],
)
def test_what_is_not_taken_is_said_in_words_and_tried_again(
    sender: Sender, receiver: RemoteApi, reply: Reply, words: str, least: float
) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    receiver.play(reply, OK)
    sender.publish()
    assert sender.send() == 1
    (entry,) = sender.log(subscription)
    assert words in entry["error"]
    assert len(entry["error"]) < 400
    assert least <= (entry["retry_at"] - sender.now).total_seconds() <= max(least, 6)
    assert sender.send(DAY + MINUTE) == 1
    assert [entry["delivered"] for entry in sender.log(subscription)] == [False, True]
    row = sender.row(subscription)
    assert (row["failures"], row["failing_since"], row["retry_at"]) == (0, None, None)
    assert len(receiver.asked) == 2


def test_a_receiver_that_is_gone_ends_its_subscription_at_once(sender: Sender, receiver: RemoteApi) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    receiver.play(Reply(status=410))
    sender.publish(2)
    assert sender.send() == 1
    assert sender.row(subscription)["reason"] == "the receiver answered 410 Gone"
    assert sender.send(DAY) == 0


def test_a_receiver_that_hangs_is_left_after_a_while(
    sender: Sender, receiver: RemoteApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.delivery.receiver.LIMIT_SECONDS", 0.2)
    over = threading.Event()
    receiver.answer = lambda asked: (over.wait(20), OK)[1]
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish()
    try:
        assert sender.send() == 1
    finally:
        over.set()
    assert "no answer within" in sender.log(subscription)[0]["error"]


@pytest.mark.parametrize(
    ("address", "found", "words"),
    [
        ("https://hooks.example/", "10.1.2.3", "a non-public address"),
        ("https://hooks.example/", "169.254.169.254", "a link-local address"),
        ("https://hooks.example/", "::ffff:192.168.0.1", "a non-public address"),
        ("http://hooks.example/", "8.8.8.8", "needs https"),
    ],
)
def test_a_name_that_leads_into_a_private_network_is_not_connected_to(
    lab: Lab, address: str, found: str, words: str
) -> None:
    sender = Sender(lab, lambda host, port: [ip_address(found)])
    subscription, _ = sender.subscribe(address)
    sender.publish()
    assert sender.send() == 1
    assert words in sender.log(subscription)[0]["error"]


@pytest.mark.slow
def test_production_sends_to_this_machine_only_where_the_settings_say_so(
    make_lab: Callable[..., Lab], receiver: RemoteApi
) -> None:
    for networks, sent in ((), 0), (("127.0.0.0/8",), 1):
        lab = make_lab()
        settings = lab.settings.model_copy(update={"env": "production", "webhook_networks": networks})
        lab.settings = settings
        sender = Sender(lab)
        sender.subscribe(receiver.url)
        sender.publish()
        sender.send()
        assert len(receiver.asked) == sent


@pytest.mark.slow
def test_while_a_receiver_fails_only_the_newest_revision_is_sent_and_then_each(
    sender: Sender, receiver: RemoteApi
) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish(2)
    receiver.play(OK, BROKEN, OK)
    assert sender.send() == 2
    sender.publish(3)
    assert sender.send(MINUTE) == 1
    assert revisions(receiver.asked) == [1, 2, 5]
    sender.publish(2)
    assert sender.send() == 2
    assert revisions(receiver.asked) == [1, 2, 5, 6, 7]
    assert sender.row(subscription)["failures"] == 0


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE decant.api_keys SET revoked_at = now() RETURNING id", "revoked or expired"),
        ("UPDATE decant.api_keys SET expires_at = now() - interval '1 hour' RETURNING id", "revoked or expired"),
        ("UPDATE decant.api_keys SET scopes = '[\"others:read\"]' RETURNING id", "no longer read the product"),
    ],
)
def test_who_may_no_longer_read_is_told_nothing_more(
    make_lab: Callable[..., Lab], receiver: RemoteApi, change: str, words: str
) -> None:
    lab = make_lab(LIMITED)
    sender = Sender(lab)
    subscription, _ = sender.subscribe(receiver.url, "people:role:young")
    sender.publish()
    lab.rows(change)
    assert sender.send() == 1
    assert receiver.asked == []
    row = sender.row(subscription)
    assert (row["active"], words in row["reason"]) == (False, True)


def test_a_key_that_took_the_place_of_the_owner_is_judged_in_its_stead(sender: Sender, receiver: RemoteApi) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    sender.lab.rows("UPDATE decant.api_keys SET expires_at = now() - interval '1 hour' RETURNING id")
    sender.lab.rows(
        "INSERT INTO decant.api_keys (id, name, secret_hash, scopes, line)"
        " SELECT 'next', name, '', scopes, id FROM decant.api_keys RETURNING id"
    )
    sender.publish()
    sender.send()
    assert len(receiver.asked) == 1
    assert sender.row(subscription)["active"]


def test_the_login_that_sends_neither_reads_keys_nor_leads_a_webhook_elsewhere(sender: Sender) -> None:
    subscription, _ = sender.subscribe("https://hooks.example/")
    refused = (
        "SELECT id FROM decant.api_keys",
        "UPDATE decant.subscriptions SET address = 'https://evil.example/'",
        "UPDATE decant.subscriptions SET owner = 'x'",
        "UPDATE decant.subscriptions SET secrets = '[]'",
        "DELETE FROM decant.subscriptions",
    )
    for statement in refused:
        with sender.engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text(statement))
    told = "SELECT decant.webhook_scopes(:id, now())"
    with sender.engine.connect() as connection:
        assert connection.execute(sa.text(told), {"id": subscription}).scalar_one() == ["people:read", "ops:read"]
        assert connection.execute(sa.text(told), {"id": "another"}).scalar_one() is None
    with make_engine(sender.lab.urls.read).connect() as connection, pytest.raises(sa.exc.ProgrammingError):
        connection.execute(sa.text(told), {"id": subscription})


def test_who_sees_some_records_is_told_no_counts(make_lab: Callable[..., Lab], receiver: RemoteApi) -> None:
    sender = Sender(make_lab(LIMITED))
    sender.subscribe(receiver.url, "people:role:young")
    sender.publish()
    sender.send()
    assert set(event_of(receiver.asked[0])["data"]) == {"product", "major", "dataset", "revision", "epoch", "load"}


@pytest.mark.slow
def test_operators_are_told_of_withheld_loads_and_readers_are_not(
    make_lab: Callable[..., Lab], receiver: RemoteApi
) -> None:
    sender = Sender(make_lab(STRICT))
    kinds = json.dumps(["load.withheld", "load.failed"])
    subscription, _ = sender.subscribe(receiver.url, kinds=kinds)
    lacking, _ = sender.subscribe(receiver.url, "people:read", kinds=kinds)
    sender.lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\nx,Secret,30,\n")
    sender.lab.ingest("people.people", "nothing,of,this\n1,2,3\n")
    sender.send()
    withheld, failed = map(event_of, receiver.asked)
    assert (withheld["type"], withheld["subject"]) == ("io.decant.load.withheld", "loads/1")
    assert [rule["rule"] for rule in withheld["data"]["rules"]] == ["maxRejected"]
    assert (failed["type"], failed["data"]["attempts"]) == ("io.decant.load.failed", 1)
    assert "Secret" not in str(withheld)
    assert sender.row(subscription)["active"]
    assert sender.row(lacking)["reason"] == "its key lacks the scope ops:read"


@pytest.mark.slow
def test_tests_and_replays_go_before_and_are_tried_once(sender: Sender, receiver: RemoteApi) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish()
    sender.send()
    ((event,),) = sender.lab.rows("SELECT event_id::text FROM decant.outbox")
    at = datetime(2027, 1, 1, tzinfo=UTC).isoformat()
    unknown = "11111111-1111-4111-8111-111111111111"
    asked = [{"test": "0d7f6f3e-3b44-4b53-9d7c-0c6a4ac5a6f0", "at": at}, {"event": event}, {"event": unknown}]
    sender.lab.rows("UPDATE decant.subscriptions SET asked = %s RETURNING id", json.dumps(asked))
    sender.publish()
    receiver.play(BROKEN, OK)
    assert sender.send() == 4
    first, test, again, second = receiver.asked
    assert event_of(test)["type"] == "io.decant.subscription.test"
    assert event_of(test)["time"] == "2027-01-01T00:00:00.000Z"
    assert (again.body, again.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert event_of(second)["data"]["revision"] == 2
    row = sender.row(subscription)
    assert (row["asked"], row["failures"]) == ([], 0)


@pytest.mark.slow
def test_what_the_owner_changes_while_a_message_is_on_its_way_stays(sender: Sender, receiver: RemoteApi) -> None:
    """A replay of everything, asked for while an event is being sent."""
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish(2)

    def rewind(asked: Asked) -> Reply:
        receiver.play(OK)
        sender.lab.rows("UPDATE decant.subscriptions SET cursor = 0, lease = NULL, lease_until = NULL RETURNING id")
        return OK

    sender.send()
    sender.publish()
    receiver.answer = rewind
    sender.send()
    assert revisions(receiver.asked) == [1, 2, 3, 1, 2, 3]
    assert len({each.headers["webhook-id"] for each in receiver.asked}) == 3
    assert len(sender.log(subscription)) == 6


def test_one_event_at_a_time_goes_to_a_subscription_however_many_workers_send(
    sender: Sender, receiver: RemoteApi
) -> None:
    sender.subscribe(receiver.url)
    sender.publish(2)
    other = Sender(sender.lab)
    meanwhile: list[int] = []

    def answer(asked: Asked) -> Reply:
        meanwhile.append(other.send())
        return OK

    receiver.answer = answer
    assert sender.send() == 2
    assert meanwhile == [0, 0]
    assert revisions(receiver.asked) == [1, 2]


def test_a_receiver_that_hangs_holds_up_no_other_while_a_worker_runs(
    sender: Sender, receiver: RemoteApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.delivery.receiver.LIMIT_SECONDS", 300.0)
    let_go, stopping, taken = threading.Event(), threading.Event(), threading.Semaphore(0)

    def answer(asked: Asked) -> Reply:
        if asked.path == "/slow":
            let_go.wait(120)
        else:
            taken.release()
        return OK

    receiver.answer = answer
    slow, _ = sender.subscribe(f"{receiver.url}/slow")
    sender.subscribe(f"{receiver.url}/quick")
    for _ in range(3):
        sender.tell()
    number_events(sender.engine)
    worker = threading.Thread(target=sender.deliverer.keep_delivering, args=(stopping,))
    worker.start()
    try:
        for _ in range(3):
            assert taken.acquire(timeout=60)
        assert sender.log(slow) == []
    finally:
        stopping.set()
        let_go.set()
        worker.join(30)
    assert not worker.is_alive()
    assert [entry["revision"] for entry in sender.log(slow)] == [1]  # what was on its way is noted


@pytest.mark.slow
@pytest.mark.parametrize("publish", [Sender.tell, pytest.param(Sender.publish, marks=pytest.mark.slow)])
def test_a_receiver_that_fails_at_random_gets_the_last_revision_and_no_id_twice_with_other_content(
    sender: Sender, receiver: RemoteApi, publish: Callable[[Sender], None]
) -> None:
    sender.subscribe(receiver.url)
    chance = random.Random(7)
    taken: list[Asked] = []

    def answer(asked: Asked) -> Reply:
        roll = chance.random()
        if roll < 0.3:
            return BROKEN
        taken.append(asked)
        return Reply(raw=b"") if roll < 0.45 else OK  # taken, and nobody learns of it

    receiver.answer = answer
    total = 100
    for _ in range(total):
        publish(sender)
        sender.send(timedelta(seconds=chance.choice((0, 1, 400))))
    receiver.play(OK)
    sender.send(10 * DAY)
    taken.extend(receiver.asked[-1:])
    told = revisions(taken)
    assert told[-1] == total
    assert told == sorted(told)
    contents: dict[str, set[bytes]] = {}
    for asked in receiver.asked:
        contents.setdefault(asked.headers["webhook-id"], set()).add(asked.body)
    assert {len(bodies) for bodies in contents.values()} == {1}
    assert len(contents) == len({event_of(asked)["data"]["revision"] for asked in receiver.asked})


@pytest.mark.slow
def test_a_worker_that_is_killed_between_sending_and_noting_sends_again(sender: Sender, receiver: RemoteApi) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    sender.publish()
    variables = environment(sender.lab, None) | {"DECANT_INGEST_DATABASE_URL": sender.lab.urls.ingest}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([DECANT, "worker", "--once"], env=variables, **quiet) as worker:

        def kill(asked: Asked) -> Reply:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(20)
            return OK

        receiver.answer = kill
        assert worker.wait(60) == -signal.SIGKILL
    assert sender.log(subscription) == []
    assert sender.row(subscription)["lease"] is not None
    assert sender.send() == 0  # while the lease runs, it may still be at it
    assert sender.send(2 * MINUTE) == 1
    first, again = receiver.asked
    assert (first.body, first.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])


@pytest.mark.slow
def test_the_log_and_the_outbox_are_kept_for_a_while(sender: Sender, receiver: RemoteApi) -> None:
    subscription, _ = sender.subscribe(receiver.url)
    idle, _ = sender.subscribe(receiver.url, kinds=json.dumps(["load.failed"]))
    sender.publish(2)
    sender.lab.rows("UPDATE decant.subscriptions SET active = false WHERE id = %s RETURNING id", subscription)
    later = sender.now + timedelta(days=8)
    sender.send()
    assert prune_outbox(sender.engine, later) == 0  # nobody has looked for the idle one yet
    tidy_deliveries(sender.engine, sender.now)
    assert sender.row(idle)["cursor"] > 0
    assert prune_outbox(sender.engine, later) == 2
    sender.lab.rows("UPDATE decant.subscriptions SET active = true WHERE id = %s RETURNING id", subscription)
    sender.publish()
    assert sender.send() == 1
    assert tidy_deliveries(sender.engine, sender.now + timedelta(days=29)) == 0
    assert tidy_deliveries(sender.engine, sender.now + timedelta(days=31)) == 1
