"""Messages to people: one for each incident and one when it is over, over real servers, at moments of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from ingest.notifying.claims import claim_due
from ingest.notifying.mail import MailServerError, read_mail_server
from ingest.notifying.messages import INCIDENTS_SHOWN, for_chat, make_message
from ingest.notifying.notifier import send_test
from ingest.notifying.record import channels_of, record_incidents, tidy_incidents
from runtime.settings.settings import PROJECT_ROOT
from tests.support.house import MAIL, House
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.mail_server import MailServer
from tests.support.remote_api import RemoteApi, Reply, run_remote_api

HOOK = (
    '  - {channel: hook, tool: webhook, url: "${OPS_HOOK}", customProperties: [{property: notify, value: [all]}]}\n'
)
STRICT = PEOPLE.replace("{property: maxRejected, value: 100}", "{property: maxRejected, value: 10}")
OTHERS = 24
OTHER = """  - name: other{number}
    customProperties:
      - {{property: input, value: {{server: here, path: "other{number}.csv", mode: snapshot}}}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
"""
HEADER = "id,name,age,born\n"
GOOD = HEADER + "".join(f"{n},Ann,30,1990-01-31\n" for n in range(4))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteApi]:
    with run_remote_api() as api:
        api.play(Reply(status=204))
        monkeypatch.setenv("OPS_HOOK", f"{api.url}/hook?token=SECRET")
        yield api


@pytest.fixture
def make_house(make_lab: Callable[..., Lab], mailbox: MailServer) -> Callable[..., House]:
    def make(channels: str = MAIL % "all", contract: str = PEOPLE) -> House:
        return House(
            make_lab(f"{contract}support:\n{channels}", smtp_url=mailbox.url, public_url="https://d.example")
        )

    return make


def test_fifty_failed_loads_are_one_mail_one_reminder_a_day_and_one_recovery(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house()
    house.lab.ingest("people.people", GOOD)
    assert house.tell() == 0
    for _ in range(5):
        house.fail(10)
        house.tell(timedelta(minutes=1))
    assert mailbox.subjects == ["[people@1.people] load failed"]
    text = mailbox.mails[0].get_content().replace("\r\n", "\n")
    assert "Readers keep revision 1." in text
    assert "Next: decant loads show 11\n" in text
    assert "Console: https://d.example/console/loads/11\n" in text
    assert "SECRET" not in text
    assert house.tell(HOUR) == 0
    assert house.tell(DAY) == 1
    assert house.tell(HOUR) == 0
    house.lab.ingest("people.people", GOOD + "9,Bob,30,\n")
    assert house.tell(HOUR) == 1
    assert house.tell(DAY) == 0
    assert mailbox.subjects[1:] == [
        "[people@1.people] still: load failed",
        "[people@1.people] recovered: load failed",
    ]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 3
    assert len({mail["References"] for mail in mailbox.mails}) == 1
    house.fail()
    assert house.tell() == 1  # another incident
    assert tidy_incidents(house.engine, house.now + 100 * DAY) == 1


@pytest.mark.slow
def test_datasets_that_fail_in_one_look_are_one_message_and_each_has_its_own_end(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    more = "".join(OTHER.format(number=number) for number in range(OTHERS))
    house = make_house(contract=PEOPLE.replace("roles:", f"{more}roles:"))
    for number in range(1, OTHERS + 2):
        house.fail(dataset_id=number)
    assert house.tell() == 1
    (mail,) = mailbox.mails
    assert mail["Subject"] == f"[people@1] load failed ({OTHERS + 1})"
    text = mail.get_content().replace("\r\n", "\n")
    assert text.count("Dataset: ") == INCIDENTS_SHOWN
    assert text.count("Next: decant loads show") == INCIDENTS_SHOWN
    assert text.endswith(f"\n\n{OTHERS + 1 - INCIDENTS_SHOWN} more: decant status\n")
    assert len(str(mail["References"]).split()) == OTHERS + 1
    house.fail(dataset_id=1)
    assert house.tell(HOUR) == 0
    house.lab.rows("UPDATE decant.loads SET status = 'published' WHERE dataset_id = 1 RETURNING id")
    assert house.tell(HOUR) == 1
    assert house.tell(DAY) == 1
    house.lab.rows("UPDATE decant.loads SET status = 'published' RETURNING id")
    assert house.tell() == 1
    assert house.tell(2 * DAY) == 0
    assert mailbox.subjects[1:] == [
        "[people@1.people] recovered: load failed",
        f"[people@1] still: load failed ({OTHERS})",
        f"[people@1] recovered: load failed ({OTHERS})",
    ]


def test_what_nobody_took_goes_together_with_what_came_since(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house(contract=PEOPLE.replace("roles:", f"{OTHER.format(number=0)}roles:"))
    mailbox.refusal = "451 later"
    house.fail(dataset_id=1)
    assert house.tell() == 1
    house.fail(dataset_id=2)
    assert house.tell(timedelta(seconds=30)) == 0, "the channel waits"
    assert house.tell(timedelta(seconds=30)) == 1
    assert house.tell(timedelta(minutes=1)) == 0, "both wait, as long as what failed twice"
    mailbox.refusal = None
    assert house.tell(HOUR) == 1
    assert mailbox.subjects == ["[people@1] load failed (2)"]
    assert house.tell(HOUR) == 0


def test_a_killed_senders_message_is_sent_again_as_it_was(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house(contract=PEOPLE.replace("roles:", f"{OTHER.format(number=0)}roles:"))
    house.fail(dataset_id=1)
    record_incidents(house.engine, house.lab.catalog, house.now)
    (claim,) = claim_due(house.engine, list(channels_of(house.lab.catalog)), house.now, 4)
    (channel,) = channels_of(house.lab.catalog).values()
    lost = make_message(claim, channel, "People", None, house.now)
    house.fail(dataset_id=2)
    assert house.tell(HOUR) == 2
    assert f"<decant-{lost.id}@example.org>" in {mail["Message-ID"] for mail in mailbox.mails}
    assert sorted(mailbox.subjects) == ["[people@1.other0] load failed", "[people@1.people] load failed"]


def test_withheld_loads_rejected_records_and_new_columns_are_told_without_values(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house(contract=STRICT)
    house.lab.ingest("people.people", "id,name,age,born,Salary of Ann\n1,Ann,30,,9\nx,Hidden,30,,9\n")
    assert house.tell() == 1
    assert mailbox.subjects == ["[people@1] load withheld, source has changed"]
    sent = mailbox.mails[0].get_content()
    assert "Load 1 is withheld: maxRejected measured 50 %, must be ≤ 10 %. Nothing is published yet." in sent
    assert "columns that no property reads" in sent
    assert "Salary" not in sent
    assert "Hidden" not in sent
    house.lab.ingest("people.people", GOOD)
    assert house.tell() == 1
    assert mailbox.subjects[1:] == ["[people@1] recovered: load withheld, source has changed"]


@pytest.mark.slow
def test_a_growing_quarantine_is_told_and_a_column_more_is_no_recovery(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house(MAIL % "quarantine_growing, schema_changed")
    house.lab.ingest("people.people", GOOD + "x,Ann,30,\n")
    assert house.tell() == 1
    house.lab.ingest("people.people", "id,name,age,born,a\n1,Ann,30,,1\n")
    assert house.tell() == 2
    house.lab.ingest("people.people", "id,name,age,born,a,b\n1,Ann,30,,1,1\n")
    assert house.tell() == 1
    assert house.tell(2 * DAY) == 0  # what may be so on purpose is told once
    titles = [subject.partition("] ")[2] for subject in mailbox.subjects]
    assert sorted(titles) == [
        "new rejected records",
        "recovered: new rejected records",
        "source has changed",
        "source has changed",
    ]


def test_lateness_is_told_to_those_who_are_not_told_why(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    late = "slaProperties:\n  - {property: latency, value: 1, unit: h}\n"
    channels = (MAIL % "freshness_missed") + (MAIL % "all").replace("ops", "both")
    house = make_house(channels, PEOPLE + late)
    house.lab.ingest("people.people", GOOD)
    assert house.tell() == 0
    house.fail()
    assert house.tell(5 * HOUR) == 2
    found = {mail["To"]: str(mail["Subject"]) for mail in mailbox.mails}
    assert found == {
        "ops@example.org": "[people@1.people] data is late",
        "both@example.org": "[people@1.people] load failed",
    }


def test_a_missing_worker_and_keys_that_end_are_told(make_house: Callable[..., House], mailbox: MailServer) -> None:
    house = make_house(MAIL % "no_worker, key_expiring")
    house.lab.rows("INSERT INTO decant.loads (dataset_id, kind, status) VALUES (1, 'ingest', 'queued') RETURNING id")
    mine, operators, _ = (
        make_key(house.lab, scope).split("_")[1] for scope in ("people:read", "ops:read", "shop:read")
    )
    house.lab.rows("UPDATE decant.api_keys SET expires_at = %s RETURNING id", house.now + 13 * DAY)
    assert house.tell(-timedelta(minutes=1)) == 1  # the other product's people may be told of its key
    assert house.tell(5 * timedelta(minutes=1)) == 1
    assert mailbox.subjects == ["[people@1] key expires (2)", "[Decant] no worker is alive"]
    texts = "".join(mail.get_content() for mail in mailbox.mails)
    for key in (mine, operators):
        assert f"Next: decant keys rotate {key}" in texts
    house.lab.rows("UPDATE decant.api_keys SET revoked_at = now() RETURNING id")
    house.lab.rows("UPDATE decant.loads SET status = 'published', finished_at = now() RETURNING id")
    assert house.tell() == 1
    assert mailbox.subjects[2:] == ["[people@1] recovered: key expires (2), no worker is alive"]


@pytest.mark.slow
def test_a_receiver_that_fails_for_a_while_is_told_later_and_holds_up_no_other(
    make_house: Callable[..., House], mailbox: MailServer, hook: RemoteApi
) -> None:
    house = make_house((MAIL % "all") + HOOK)
    hook.play(Reply(b"\x1b[31mSECRET", 500))
    house.fail()
    assert house.tell() == 2
    assert len(mailbox.mails) == 1
    (failing,) = house.failing()
    assert (failing["channel"], failing["since"]) == ("people@1/hook", house.now)
    assert failing["error"] == "the service of the channel answered 500"
    assert house.tell(timedelta(seconds=59)) == 0
    assert house.tell(timedelta(seconds=1)) == 1
    hook.play(Reply(status=204))
    assert house.tell(HOUR) == 1
    assert house.failing() == []
    asked = hook.asked[-1]
    assert (asked.path, asked.params) == ("/hook", {"token": "SECRET"})
    assert "load failed" in json.loads(asked.body)["title"]


@pytest.mark.slow
def test_what_nobody_takes_is_given_up_after_a_day_and_reminded_of(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house()
    mailbox.refusal = "554 SECRET words"
    house.fail()
    began, tries = house.now, house.tell()
    while house.now < began + 2 * DAY and not house.lab.rows(
        "SELECT 1 FROM decant.incident_messages WHERE noted_at IS NOT NULL"
    ):
        tries += house.tell(HOUR)
    assert timedelta(hours=18) < house.now - began < timedelta(hours=26)
    assert 6 < tries < 15
    assert house.failing()[0]["error"] == "the mail server answered 554"
    mailbox.refusal = None
    assert house.tell(HOUR) == 0
    assert house.tell(DAY) == 1
    assert mailbox.subjects == ["[people@1.people] load failed"]


def test_what_is_over_before_it_could_be_told_is_not_told(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house()
    mailbox.refusal = "451 later"
    house.fail()
    assert house.tell() == 1
    house.lab.ingest("people.people", GOOD)
    mailbox.refusal = None
    assert house.tell(DAY) == 0
    assert mailbox.mails == []


SENDER = """
import os, signal, sys
from datetime import datetime
from catalog.contract.load import load_catalog
from ingest.notifying import notifier
from runtime.postgres.database import make_engine
from runtime.settings.settings import load_settings
settings = load_settings()
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
notifier.note_sent = die
catalog = load_catalog(settings)
moment = datetime.fromisoformat(sys.argv[2])
notifier.Notifier(settings, make_engine(sys.argv[1]), lambda: catalog).run_round(lambda: moment)
"""


@pytest.mark.slow
def test_a_sender_killed_between_sending_and_noting_repeats_one_message_at_most(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house()
    house.fail()
    chosen = house.lab.settings
    variables = {name: str(getattr(chosen, name)) for name in ("home", "contracts", "data")}
    names = {f"DECANT_{name.upper()}": value for name, value in variables.items()} | {"DECANT_SMTP_URL": mailbox.url}
    command = [sys.executable, "-c", SENDER, house.lab.urls.ingest, house.now.isoformat()]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=os.environ | names, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(mailbox.mails) == 1
    assert house.tell(timedelta(minutes=1)) == 0  # its lease runs
    assert house.tell(HOUR) == 1
    assert house.tell(HOUR) == 0
    first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]


def test_a_killed_senders_incident_that_is_over_is_told_to_be_over(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    house = make_house()
    house.fail()
    record_incidents(house.engine, house.lab.catalog, house.now)
    assert len(claim_due(house.engine, list(channels_of(house.lab.catalog)), house.now, 4)) == 1
    house.lab.ingest("people.people", GOOD)
    assert house.tell(HOUR) == 1
    assert mailbox.subjects == ["[people@1.people] recovered: load failed"]


def test_two_workers_send_one_message(make_house: Callable[..., House], mailbox: MailServer) -> None:
    house = make_house()
    other = House(house.lab, house.now)
    house.fail()
    with house.engine.begin() as connection:
        connection.exec_driver_sql("SELECT FROM decant.locks WHERE name = 'incidents' FOR UPDATE")
        assert other.tell() == 0  # the other one is looking
    record_incidents(house.engine, house.lab.catalog, house.now)
    keys = list(channels_of(house.lab.catalog))
    assert len(claim_due(house.engine, keys, house.now, 4)) == 1
    assert other.tell() == 0
    assert mailbox.mails == []


def test_names_from_outside_end_no_header_and_are_no_mention(
    make_house: Callable[..., House], mailbox: MailServer
) -> None:
    hostile = PEOPLE.replace("name: People\n", 'name: "<!channel> @here\\e[31m\\r\\nBcc: x@example.org"\n')
    house = make_house(contract=hostile)
    house.fail()
    assert house.tell() == 1
    (mail,) = mailbox.mails
    assert mailbox.recipients == [["ops@example.org"]]
    assert mail["Bcc"] is None
    assert "\x1b" not in mail.get_content()
    assert "\\x1b[31m Bcc: x@example.org (people@1)" in mail.get_content()
    chat = for_chat(mail.get_content())
    assert "<!channel>" not in chat
    assert "@here" not in chat
    assert "Console: https://d.example/console/loads/1" in chat


def test_a_variable_that_is_missing_or_of_another_service_is_told_in_words(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(HOOK)
    (channel,) = channels_of(house.lab.catalog).values()
    monkeypatch.delenv("OPS_HOOK", raising=False)
    assert house.test(channel) == "the environment variable OPS_HOOK is not set"
    for value in ("syslog://", "mailto://u:SECRET@example.org", "discord://1/SECRET", "nonsense SECRET", "file:///x"):
        monkeypatch.setenv("OPS_HOOK", value)
        error = house.test(channel)
        assert error is not None
        assert error.startswith("the variable's value is")
        assert "SECRET" not in error


def test_a_redirect_is_not_followed(make_house: Callable[..., House], hook: RemoteApi) -> None:
    house = make_house(HOOK)
    (channel,) = channels_of(house.lab.catalog).values()
    hook.play(Reply(status=302, headers={"Location": f"{hook.url}/elsewhere"}))
    assert house.test(channel) == "the service of the channel answered 302"
    assert [asked.path for asked in hook.asked] == ["/hook"]


@pytest.mark.parametrize(
    "url",
    [
        "https://mail.example.org?from=a@example.org",
        "smtp://mail.example.org",
        "smtp://mail.example.org?from=a@example.org%0d%0aBcc:b@example.org",
        "smtp://u:SECRET@mail.example.org?from=a@example.org&tls=off",
        "smtp://mail.example.org?from=a@example.org&tls=maybe",
        "smtp://mail.example.org?from=a@example.org&cc=b@example.org",
        "smtp://mail.example.org:x?from=a@example.org",
    ],
)
def test_an_address_of_a_mail_server_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(MailServerError) as caught:
        read_mail_server(url)
    assert "SECRET" not in str(caught.value)


def test_mail_needs_tls_except_on_this_machine(make_house: Callable[..., House], mailbox: MailServer) -> None:
    assert read_mail_server("smtp://mail.example.org?from=a@example.org").tls
    house = make_house()
    strict = house.lab.settings.model_copy(
        update={"smtp_url": type(house.lab.settings.smtp_url)(f"{mailbox.url}&tls=required")}
    )
    (channel,) = channels_of(house.lab.catalog).values()
    error = send_test(strict, house.lab.catalog, channel, house.now)
    assert error is not None
    assert error.startswith("the mail server lacks TLS")
    assert mailbox.mails == []
