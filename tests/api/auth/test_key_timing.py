"""What is done to judge a key is the same whatever is wrong with it; bench/key_timing.py measures the time."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from api.auth.api_keys import KEY_TEXT, checksum, generate, parse_key
from api.auth.authenticator import Authenticator
from api.http.problems import Problem
from bench.key_timing import count_taken, make_authenticator, make_texts, spell_key, time_calls
from runtime.postgres.pools import make_write_pool
from tests.support.lab import Lab


async def watch(authenticator: Authenticator, text: str) -> list[str]:
    """Every function, Python's and C's, that is called to judge a key that was looked up before."""
    called: list[str] = []

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)
        elif event == "c_call":
            called.append(function.__name__)

    await authenticator.verify_key(text)
    sys.setprofile(note)
    try:
        await authenticator.verify_key(text)
    finally:
        sys.setprofile(None)
    called.remove("setprofile")
    return called


async def watch_all(lab: Lab, texts: dict[str, str]) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """What is called for each kind of key, and the principal that it gives."""
    async with make_write_pool(lab.urls.write, lab.settings) as pool:
        await pool.open(wait=True)
        authenticator = make_authenticator(lab.settings, pool)
        called = {kind: await watch(authenticator, text) for kind, text in texts.items()}
        checked = {kind: await authenticator.verify_key(text) for kind, text in texts.items()}
        found = {kind: None if isinstance(told, str) else told for kind, told in checked.items()}
        for kind, principal in found.items():
            if principal is None:
                with pytest.raises(Problem, match="unauthorized"):
                    await authenticator.authenticate(Headers({"X-API-Key": texts[kind]}))
        return called, {kind: principal and principal.id for kind, principal in found.items()}


def test_the_same_is_done_for_every_well_formed_key_good_or_bad(lab: Lab) -> None:
    texts = make_texts(lab.settings, lab.urls)
    called, found = asyncio.run(watch_all(lab, texts))
    assert [kind for kind, principal in found.items() if principal] == ["valid"]
    assert {kind: steps == called["valid"] for kind, steps in called.items()} == dict.fromkeys(texts, True)
    counted = Counter(called["valid"])
    assert counted["hash_secret"] == counted["hmac_digest"] == 1
    # Of the checksum, and of the hash: neither is compared sign by sign.
    assert counted["compare_digest"] == 2


def test_a_malformed_key_costs_a_hash_too(lab: Lab) -> None:
    valid = make_texts(lab.settings, lab.urls)["valid"]
    called, found = asyncio.run(watch_all(lab, {"cut": valid[:-1], "empty": "dcnt_", "mistyped": valid[::-1]}))
    assert [Counter(steps)["hash_secret"] for steps in called.values()] == [1, 1, 1]
    assert set(found.values()) == {None}


def test_the_measurement_tells_of_each_kind(lab: Lab) -> None:
    texts = make_texts(lab.settings, lab.urls)
    medians = asyncio.run(time_calls(lab.settings, lab.urls, texts, 20))
    assert set(medians) == set(texts) >= {"valid", "wrong secret", "unknown id", "revoked", "expired"}
    assert min(medians.values()) > 0
    assert count_taken(5_000) == 0


@given(st.from_regex(KEY_TEXT, fullmatch=True))
def test_what_looks_like_a_key_is_one_by_its_checksum_alone(text: str) -> None:
    key_id, secret, sum_of_both = text[5:17], text[18:50], text[50:]
    assert (parse_key(text) is not None) == (checksum(key_id, secret) == sum_of_both)
    assert parse_key(spell_key(key_id, secret)) is not None


@given(st.integers(5, 54), st.integers(1, 3))
def test_signs_that_change_places_are_noticed(place: int, distance: int) -> None:
    signs = list(spell_key(generate(12), generate(32)))
    other = min(place + distance, len(signs) - 1)
    changed = signs.copy()
    changed[place], changed[other] = changed[other], changed[place]
    assert (parse_key("".join(changed)) is None) == (changed != signs)
