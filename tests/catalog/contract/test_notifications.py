"""Channels of contracts: what is understood, and what is a finding with a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.contract.load import load_catalog
from catalog.model.notifications import EVENTS
from runtime.errors import CatalogError
from runtime.settings.settings import load_settings
from tests.support.lab import PEOPLE

MAIL = 'channel: ops, tool: email, url: "mailto:ops@example.org"'
HOOK = 'channel: ops, tool: webhook, url: "${OPS_HOOK}"'


def load(folder: Path, channels: str, **settings: Any) -> Any:
    (folder / "people.odcs.yaml").write_text(f"{PEOPLE}support:\n{channels}\n")
    return load_catalog(load_settings(contracts=folder, home=folder, **settings)).products["people", 1].channels


def notify(channel: str, events: str = "[all]") -> str:
    return f"  - {{{channel}, customProperties: [{{property: notify, value: {events}}}]}}"


def test_channels_are_those_with_notify_and_all_stands_for_every_event(tmp_path: Path) -> None:
    channels = "\n".join(
        [
            '  - {channel: questions, tool: ticket, url: "https://issues.example.org"}',
            notify('channel: mail, url: "mailto:a@example.org,b@example.org"', "[load_failed, no_worker]"),
            notify(HOOK),
        ]
    )
    mail, hook = load(tmp_path, channels)
    assert (mail.key, mail.tool, mail.events) == ("people@1/mail", "email", {"load_failed", "no_worker"})
    assert (hook.tool, hook.address, hook.events) == ("webhook", "${OPS_HOOK}", EVENTS.keys())


@pytest.mark.parametrize(
    ("channel", "events", "words"),
    [
        (MAIL, "[load_faild]", "did you mean 'load_failed'?"),
        (MAIL, "[weather]", "known are load_withheld"),
        (MAIL, "all", "not a list of events"),
        (MAIL, "[]", "not a list of events"),
        (MAIL.replace("email", "emial"), "[all]", "did you mean 'email'?"),
        (MAIL.replace("email", "pigeon"), "[all]", "unknown tool 'pigeon'"),
        (MAIL.replace("ops@", "ops@@"), "[all]", "is not a mail address"),
        (MAIL.replace("example.org", "example.org?bcc=x@y.org"), "[all]", "is not a mail address"),
        (MAIL.replace("example.org", r"example.org\nBcc: x@y.org"), "[all]", "is not a mail address"),
        (MAIL.replace("channel: ops, ", ""), "[all]", "printable characters are needed"),
        (MAIL.replace("channel: ops", r'channel: "a\e[31mb"'), "[all]", "printable characters are needed"),
        (HOOK.replace("${OPS_HOOK}", "https://hooks.example.org/TOKEN"), "[all]", "a secret belongs in a variable"),
        (HOOK.replace("${OPS_HOOK}", "https://${OPS_HOOK}"), "[all]", "a secret belongs in a variable"),
        (HOOK.replace("OPS_HOOK", "DECANT_SECRET"), "[all]", "is a setting of Decant"),
    ],
)
def test_what_cannot_be_told_is_a_finding(tmp_path: Path, channel: str, events: str, words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, notify(channel, events))
    assert words in str(caught.value)
    assert "TOKEN" not in str(caught.value)


def test_every_event_misspelled_by_one_letter_is_a_finding_that_names_it(tmp_path: Path) -> None:
    for event in EVENTS:
        with pytest.raises(CatalogError, match=f"did you mean '{event}'"):
            load(tmp_path, notify(MAIL, f"[{event[:-1]}]"))


def test_a_property_that_is_nearly_notify_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="did you mean 'notify'"):
        load(tmp_path, notify(MAIL).replace("property: notify", "property: notfy"))


def test_a_channel_that_is_repeated_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="'ops' is repeated"):
        load(tmp_path, f"{notify(MAIL)}\n{notify(HOOK)}")


def test_a_variable_that_the_product_may_not_use_is_a_finding_in_production(tmp_path: Path) -> None:
    production = {"env": "production", "secret": "x" * 40, "database_url": "postgresql://u:p@h/d?sslmode=require"}
    with pytest.raises(CatalogError, match="OPS_HOOK is not permitted for this product"):
        load(tmp_path, notify(HOOK), **production)
    permitted = {"input_variables": "people=OPS_HOOK"}
    assert len(load(tmp_path, notify(HOOK), **production, **permitted)) == 1
