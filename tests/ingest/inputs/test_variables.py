"""Values of variables are hidden in whatever spelling they come back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from catalog.inputs.permits import Permits
from ingest.inputs.variables import VariableExpander
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.quakes import QUAKES
from tests.support.remote_api import Reply, run_remote_api

VALUE = 'pa ss/w+rd"ä&=?~'


@pytest.mark.parametrize(
    "spelled",
    [
        VALUE,
        VALUE.upper(),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(VALUE, safe="").lower(),
        quote_plus(VALUE),
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
    ],
)
def test_a_value_is_hidden_in_every_spelling(monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.setenv("TOKEN", VALUE)
    expander = VariableExpander(Permits(load_settings(), "shop"))
    assert expander.expand("Bearer ${TOKEN}") == f"Bearer {VALUE}"
    assert expander.hide(f"no {spelled} here").rstrip("=").replace("=", "") == "no *** here"


LONG = "eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.payload.signature"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"key {LONG[:20]}… of", "key ***… of"),
        (f"key {LONG[:16].upper()}, {LONG[:30]}x, {LONG}", "key ***, ***x, ***"),
        (f"key {LONG[:15]}", f"key {LONG[:15]}"),  # too little of it to be known
        ("nothing of it", "nothing of it"),
    ],
)
def test_the_beginning_of_a_long_value_is_hidden_too(monkeypatch: pytest.MonkeyPatch, said: str, shown: str) -> None:
    monkeypatch.setenv("TOKEN", LONG)
    expander = VariableExpander(Permits(load_settings(), "shop"))
    expander.expand("Bearer ${TOKEN}")
    assert expander.hide(said) == shown


ECHO = QUAKES.replace("retries: 1", "retries: 0, params: {region: '${REGION}'}, headers: {Authorization: '${TOKEN}'}")
STRICT = ECHO.replace("    properties:\n", "      - {property: unknownColumns, value: reject}\n    properties:\n")


@pytest.mark.sampled
@pytest.mark.parametrize(
    "token", ["s3cret-canary-7f", LONG + "-and-more" * 20], ids=["short", "longer than is shown"]
)
def test_secrets_that_an_api_repeats_as_keys_stand_in_no_note_and_no_error(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("TOKEN", token)
    monkeypatch.setenv("REGION", "north")
    with run_remote_api() as remote:
        monkeypatch.setenv("API_URL", remote.url)
        remote.play(Reply([{"id": 1, token: 1, "x" * 50 + token: 2, "north": 3, "mag": 4}]))
        for text, status in ((ECHO, "published"), (STRICT, "failed")):
            lab = make_lab(text)
            report = lab.loader().run(lab.dataset("quakes.quakes"))
            assert report.status == status
            said = " ".join([*report.notes, report.error or ""])
            assert ": ***, " + "x" * 50 + "***, ***, mag" in said
            ((kept,),) = lab.rows("SELECT concat(notes, error) FROM decant.loads")
            assert "mag" in kept
            for shown in (said, kept):
                assert token[:12] not in shown
