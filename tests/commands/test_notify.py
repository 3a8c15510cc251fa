"""`notify test`, `notify now`, and what `status` says of channels."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.command_line import run
from tests.support.lab import PEOPLE, Lab
from tests.support.mail_server import run_mail_server
from tests.support.remote_api import Reply, run_remote_api

CHANNELS = """support:
  - {channel: mail, url: "mailto:ops@example.org", customProperties: [{property: notify, value: [load_failed]}]}
  - channel: chat
    tool: webhook
    url: "${OPS_HOOK}"
    customProperties: [{property: notify, value: [all]}]
"""


@pytest.fixture
def lab_of_channels(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(f"{PEOPLE}{CHANNELS}")


def test_a_test_message_goes_to_every_channel_and_says_how_each_went(lab_of_channels: Lab) -> None:
    with run_mail_server() as mailbox, run_remote_api() as hook:
        hook.play(Reply(status=204))
        variables = {"DECANT_SMTP_URL": mailbox.url, "OPS_HOOK": f"{hook.url}/hook"}
        done = run(lab_of_channels, "notify", "test", "people", **variables)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["people@1/mail (email): sent", "people@1/chat (webhook): sent"]
        assert mailbox.subjects == ["[people@1] test message"]
        hook.play(Reply(status=503))
        failed = run(lab_of_channels, "notify", "test", "--json", OPS_HOOK=f"{hook.url}/SECRET")
    assert failed.returncode == 1
    rows = json.loads(failed.stdout)
    assert [(row["channel"], row["sent"]) for row in rows] == [("people@1/mail", False), ("people@1/chat", False)]
    assert rows[0]["error"].startswith("DECANT_SMTP_URL is not set")
    assert rows[1]["error"] == "the service of the channel answered 503"
    assert "SECRET" not in failed.stdout + failed.stderr


def test_a_round_without_a_worker_sends_what_is_due_and_status_says_what_fails(lab_of_channels: Lab) -> None:
    lab_of_channels.rows(
        "INSERT INTO decant.loads (dataset_id, kind, status, error_code, finished_at)"
        " VALUES (1, 'ingest', 'failed', 'source_unavailable', now()) RETURNING id"
    )
    with run_mail_server() as mailbox:
        done = run(lab_of_channels, "notify", "now", DECANT_SMTP_URL=mailbox.url)
    assert done.returncode == 0, done.stderr
    assert "Messages tried: 2" in done.stdout
    assert mailbox.subjects == ["[people@1.people] load failed"]
    (row,) = json.loads(run(lab_of_channels, "status", "--json").stdout)
    (failing,) = row["failing_channels"]
    assert failing["error"] == "the environment variable OPS_HOOK is not set"
    shown = run(lab_of_channels, "status").stdout
    assert "channel people@1/chat: messages are not taken since" in shown
    assert "people@1/mail" not in shown


def test_a_worker_that_runs_once_sends_what_its_load_ended_with(lab_of_channels: Lab) -> None:
    load = "INSERT INTO decant.loads (dataset_id, kind) VALUES (1, 'ingest') RETURNING id"
    lab_of_channels.rows(load)  # its file is missing
    with run_mail_server() as mailbox:
        done = run(lab_of_channels, "worker", "--once", DECANT_SMTP_URL=mailbox.url)
    assert done.returncode in (0, 1), done.stderr
    assert mailbox.subjects == ["[people@1.people] load failed"]


def test_a_contract_without_channels_has_none_to_test(make_lab: Callable[..., Lab]) -> None:
    done = run(make_lab(), "notify", "test")
    assert done.returncode == 1
    assert "No contract names a channel" in done.stderr
