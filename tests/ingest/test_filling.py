"""Values of variables are hidden in whatever spelling they come back."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from catalog.permits import Permits
from catalog.settings import load_settings
from ingest.inputs.filling import Filler

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
    filler = Filler(Permits(load_settings(), "shop"))
    assert filler.fill("Bearer ${TOKEN}") == f"Bearer {VALUE}"
    assert filler.hide(f"no {spelled} here").rstrip("=").replace("=", "") == "no *** here"
