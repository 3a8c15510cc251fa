"""The keys of token issuers: rotated, missing, too many asked for, and issuers that are down or answer nonsense."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from api.auth import jwks as jwks
from api.auth import jwt as tokens
from api.auth.jwks import UnusableAnswerError, read_keys, read_metadata
from api.auth.jwt import TokenClaims
from api.http.problems import Problem
from runtime.logs import FieldsFormatter
from tests.support.issuer import (
    JWKS,
    METADATA,
    NOW,
    Bench,
    Issuer,
    count_signatures,
    encode,
    make_key,
    public_jwk,
    run_bench,
    run_issuer,
)
from tests.support.remote_api import Asked, Reply

DAY = 24 * 3600
LATE = NOW + 10 * DAY


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with run_issuer() as running:
        yield running


@pytest.fixture
def bench(issuer: Issuer) -> Iterator[Bench]:
    with run_bench(issuer) as bench:
        yield bench


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature is checked."""
    return count_signatures(monkeypatch)


def is_unavailable(outcome: object) -> bool:
    """Whether an outcome is the problem of an issuer that cannot be reached."""
    return isinstance(outcome, Problem) and outcome.code == "unavailable"


def refuse_for_now(bench: Bench, text: str) -> Problem:
    """The problem that a token meets while its issuer's keys are not to be had."""
    with pytest.raises(Problem) as caught:
        bench.verify(text)
    assert caught.value.code == "unavailable"
    return caught.value


# How often keys are fetched


def test_two_hundred_first_tokens_make_one_fetch(bench: Bench) -> None:
    texts = [bench.issuer.token(sub=f"s{number}") for number in range(200)]
    outcomes = bench.verify_all(*texts)
    assert [claims.subject for claims in outcomes if isinstance(claims, TokenClaims)] == [f"s{n}" for n in range(200)]
    assert bench.issuer.fetches == 1


def test_a_flood_of_unknown_kids_makes_one_fetch_in_thirty_seconds(bench: Bench) -> None:
    key = make_key("RSA", 9)
    flood = [bench.issuer.token(f"unknown{number}", key) for number in range(200)]
    assert bench.verify(bench.issuer.token()) is not None
    for seconds, fetches in ((0, 1), (29.9, 1), (0.1, 2), (0, 2), (29.9, 2), (0.1, 3)):
        bench.clock.now += seconds
        assert bench.verify_all(*flood) == [None] * 200
        assert bench.issuer.fetches == fetches
    assert bench.verify(bench.issuer.token()) is not None


def test_a_flood_at_an_issuer_that_fails_makes_one_fetch_in_thirty_seconds(bench: Bench) -> None:
    bench.issuer.api.play(Reply(status=500))
    flood = [bench.issuer.token(sub=f"s{number}") for number in range(200)]
    for seconds, fetches in ((0, 1), (0, 1), (29.9, 1), (0.1, 2), (29.9, 2)):
        bench.clock.now += seconds
        assert all(map(is_unavailable, bench.verify_all(*flood)))
        assert bench.issuer.fetches == fetches
    bench.issuer.api.answer = bench.issuer.answer
    bench.clock.now += 0.1
    assert None not in bench.verify_all(*flood)
    assert bench.issuer.fetches == 3


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        (None, 600),
        ("public", 600),
        ("public, max-age=1200, must-revalidate", 1200),
        ("Max-Age=90", 90),
        ('max-age="90"', 90),
        ("no-store, max-age=0", 60),
        ("max-age=86400", 3600),
        ("max-age=" + "9" * 5000, 3600),
        ("s-maxage=90", 600),
        ("max-age=soon", 600),
    ],
)
def test_keys_are_used_for_as_long_as_cache_control_says(
    bench: Bench, cache_control: str | None, seconds: float
) -> None:
    if cache_control is not None:
        bench.issuer.headers["Cache-Control"] = cache_control
    text = bench.issuer.token(exp=LATE)
    for step, fetches in ((0, 1), (seconds - 0.1, 1), (0.1, 2), (seconds - 0.1, 2), (0.1, 3)):
        bench.clock.now += step
        assert bench.verify(text) is not None
        assert bench.issuer.fetches == fetches


def test_a_token_that_would_be_refused_anyway_fetches_nothing(bench: Bench) -> None:
    for changes in ({"exp": NOW}, {"aud": "other"}, {"sub": None}, {"nbf": NOW + 100}):
        assert bench.verify(bench.issuer.token(**changes)) is None
    for header in ({"alg": "HS256"}, {"typ": "JWT"}, {"crit": ["x"]}):
        assert bench.verify(bench.issuer.token(key=make_key(key_kind(header)), header=header)) is None
    assert bench.issuer.fetches == 0


def key_kind(header: dict[str, Any]) -> str:
    return "oct" if header.get("alg") == "HS256" else "RSA"


def test_whoever_leaves_does_not_end_the_fetch_of_others(bench: Bench) -> None:
    arrived, go = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Reply:
        arrived.set()
        assert go.wait(10)
        return bench.issuer.answer(asked)

    bench.issuer.api.answer = answer

    async def run() -> TokenClaims | None:
        first, second = (asyncio.create_task(bench.verifier.verify(bench.issuer.token(sub=sub))) for sub in "ab")
        await asyncio.to_thread(arrived.wait, 10)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        go.set()
        return await second

    claims = bench.runner.run(run())
    assert claims is not None
    assert claims.subject == "b"
    assert bench.issuer.fetches == 1


# Rotation


def test_a_new_key_is_fetched_when_its_first_token_comes(bench: Bench) -> None:
    old, new = make_key("RSA"), make_key("RSA", 1)
    assert bench.verify(bench.issuer.token()) is not None
    bench.issuer.rotate(one=old, two=new)
    assert bench.verify(bench.issuer.token("two")) is None  # the floor
    bench.clock.now += 30
    assert bench.verify(bench.issuer.token("two")) is not None
    assert bench.verify(bench.issuer.token("one")) is not None


def test_a_removed_key_takes_along_what_it_signed(bench: Bench, checked: list[str]) -> None:
    old, other = bench.issuer.token(exp=LATE), bench.issuer.token(exp=LATE, sub="bob")
    assert None not in bench.verify_all(old, other)
    bench.clock.now += 31
    bench.issuer.rotate(two=make_key("RSA", 1))
    new = bench.issuer.token("two")
    assert bench.verify(old) is not None  # nobody has asked the issuer since
    assert bench.verify(new) is not None
    seen = len(checked)
    assert bench.verify_all(old, other) == [None, None]
    assert len(checked) == seen
    assert bench.verify(new) is not None


def test_a_key_that_is_added_leaves_what_was_verified(bench: Bench, checked: list[str]) -> None:
    old = bench.issuer.token(exp=LATE)
    assert bench.verify(old) is not None
    bench.clock.now += 31
    bench.issuer.rotate(one=make_key("RSA"), two=make_key("RSA", 1))
    assert bench.verify(bench.issuer.token("two")) is not None
    assert bench.verify(old) is not None
    assert checked.count(old) == 1


@pytest.mark.parametrize("change", ["material", "use", "alg", "gone"])
def test_a_key_that_changes_under_its_name_is_another_key(bench: Bench, change: str) -> None:
    bench.issuer.headers["Cache-Control"] = "max-age=60"
    old = bench.issuer.token(exp=LATE)
    bench.clock.now += 10
    assert bench.verify(old) is not None
    bench.clock.now += 59.9  # fetched at 10, verified anew at 69.9: remembered beyond 70
    bench.verifier.remembered.clear()
    assert bench.verify(old) is not None
    if change == "gone":
        bench.issuer.published = []
    elif change == "material":
        bench.issuer.rotate(one=make_key("RSA", 1))
    else:
        bench.issuer.published[0] |= {"use": "enc"} if change == "use" else {"alg": "PS256"}
    bench.clock.now += 0.1
    assert bench.verify(old) is None
    assert bench.issuer.fetches == 2


def test_an_unchanged_set_that_is_fetched_again_costs_no_signature(bench: Bench, checked: list[str]) -> None:
    bench.issuer.headers["Cache-Control"] = "max-age=60"
    text = bench.issuer.token(exp=LATE)
    assert bench.verify(bench.issuer.token()) is not None
    bench.clock.now += 50
    assert bench.verify(text) is not None
    bench.clock.now += 10
    assert bench.verify(text) is not None
    assert bench.issuer.fetches == 2
    assert checked.count(text) == 1


# Which keys count


def small_rsa_key() -> RSAKey:
    """A key of 1024 bits, which the library would warn of."""
    private = rsa.generate_private_key(65537, 1024)
    return RSAKey(private, private)


def public_member(**changes: Any) -> dict[str, Any]:
    """The good key with some members changed; None takes one away."""
    member = public_jwk(make_key("RSA"), kid="one") | changes
    return {name: value for name, value in member.items() if value is not None}


UNFIT: dict[str, Callable[[], Any]] = {
    "for encrypting": lambda: public_member(use="enc"),
    "for nothing known": lambda: public_member(use="tls"),
    "for another algorithm": lambda: public_member(alg="PS256"),
    "for an unknown algorithm": lambda: public_member(alg="RSA-OAEP"),
    "for signing, not verifying": lambda: public_member(key_ops=["sign"]),
    "for no operation": lambda: public_member(use=None, key_ops=[]),
    "with operations as a text": lambda: public_member(use=None, key_ops="verify"),
    "with operations that are none": lambda: public_member(key_ops=[1]),
    "with its private half": lambda: make_key("RSA").as_dict(private=True, kid="one", use="sig"),
    "of 1024 bits": lambda: public_jwk(small_rsa_key(), kid="one"),
    "without a modulus": lambda: public_member(n=None),
    "with a number as modulus": lambda: public_member(n=5),
    "with an even exponent": lambda: public_member(e="Ag"),
    "with an empty exponent": lambda: public_member(e=""),
    "with padding": lambda: public_member(n=f"{make_key('RSA').as_dict(private=False)['n']}=="),
    "with a number as id": lambda: public_member(kid=1),
    "with another id": lambda: public_member(kid="One"),
    "of no type": lambda: public_member(kty=None),
    "of a type that is a list": lambda: public_member(kty=["RSA"]),
    "of an unknown type": lambda: public_member(kty="AKP"),
    "of the wrong type": lambda: public_member(kty="EC"),
    "symmetric": lambda: {"kty": "oct", "kid": "one", "k": make_key("RSA").as_dict(private=False)["n"]},
    "elliptic": lambda: public_jwk(make_key("EC"), kid="one"),
    "off its curve": lambda: public_jwk(make_key("EC"), kid="one", x="AAAA"),
    "on an unknown curve": lambda: public_jwk(make_key("EC"), kid="one", crv="P-1"),
    "on a curve that is not allowed": lambda: public_jwk(ECKey.generate_key("P-384"), kid="one"),
    "for agreeing on secrets": lambda: public_jwk(OKPKey.generate_key("X25519"), kid="one"),
    "no object": lambda: "one",
    "null": lambda: None,
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_key_is_not_used_that_is(bench: Bench, name: str) -> None:
    bench.issuer.published = [UNFIT[name](), public_jwk(make_key("EC"), kid="good")]
    assert bench.verify(bench.issuer.token()) is None
    # The others of its set are.
    assert bench.verify(bench.issuer.token("good", make_key("EC"), {"alg": "ES256"})) is not None
    assert bench.issuer.fetches == 1


@pytest.mark.parametrize(
    "name",
    ["for encrypting", "for signing, not verifying", "for no operation", "symmetric", "for agreeing on secrets"],
)
def test_a_key_that_fits_no_algorithm_is_left_out_of_its_set(name: str) -> None:
    assert (
        read_keys(json.dumps({"keys": [UNFIT[name]()]}).encode(), ("RS256", "PS256", "ES256", "EdDSA")) == frozenset()
    )


@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize(("bits", "used"), [(1024, 0), (2047, 0), (2048, 1), (8192, 1), (8193, 0)])
def test_rsa_keys_are_neither_weak_nor_slow(bits: int, used: int) -> None:
    modulus = encode(((1 << bits) - 1).to_bytes(bits // 8 + 1).lstrip(b"\0")).decode()
    assert len(read_keys(json.dumps({"keys": [public_member(n=modulus)]}).encode(), ("RS256",))) == used


def test_a_key_that_says_all_it_is_for_is_used(bench: Bench) -> None:
    bench.issuer.published = [public_member(alg="RS256", key_ops=["verify"], x5t="abc", x5c=[1], tenant={})]
    assert bench.verify(bench.issuer.token()) is not None


def test_a_symmetric_key_in_the_set_verifies_nothing(bench: Bench) -> None:
    secret = make_key("oct")
    assert isinstance(secret, OctKey)
    bench.issuer.published = [secret.as_dict(kid="one")]
    assert bench.verify(bench.issuer.token(key=secret, header={"alg": "HS256"})) is None


def test_a_token_without_a_kid_is_tried_with_the_keys_that_fit(bench: Bench, checked: list[str]) -> None:
    bench.issuer.rotate(a=make_key("RSA", 1), b=make_key("EC"), c=make_key("RSA"))
    assert bench.verify(bench.issuer.token("c", header={"kid": None})) is not None
    assert bench.verify(bench.issuer.token("b", header={"kid": None, "alg": "ES256"})) is not None
    checked.clear()
    stranger = bench.issuer.token("c", make_key("RSA", 9), header={"kid": None})
    assert bench.verify(stranger) is None
    assert checked == [stranger] * 2


def test_of_keys_without_number_only_a_few_are_tried(bench: Bench, checked: list[str]) -> None:
    bench.issuer.published = [public_jwk(ECKey.generate_key("P-256"), kid=f"k{number}") for number in range(50)]
    token = bench.issuer.token("none", make_key("EC"), header={"kid": None, "alg": "ES256"})
    assert bench.verify(token) is None
    assert len(checked) == jwks.CANDIDATES


def test_two_keys_may_have_one_id(bench: Bench) -> None:
    bench.issuer.published = [public_jwk(make_key("RSA", number), kid="one") for number in (0, 1)]
    for number in (0, 1):
        assert bench.verify(bench.issuer.token(key=make_key("RSA", number))) is not None
    assert bench.verify(bench.issuer.token(key=make_key("RSA", 9))) is None


# Discovery


def test_the_keys_are_found_through_the_issuer_s_metadata(issuer: Issuer) -> None:
    with run_bench(issuer, issuer.settings(jwks_url=None)) as bench:
        assert bench.verify(issuer.token()) is not None
    assert [asked.path for asked in issuer.api.asked] == [METADATA, JWKS]


def test_the_metadata_of_an_issuer_with_a_path_lie_below_it(issuer: Issuer) -> None:
    name = issuer.api.url + "/tenant/"

    def answer(asked: Asked) -> Reply:
        if asked.path == "/tenant" + METADATA:
            return Reply({"issuer": name, "jwks_uri": issuer.api.url + JWKS})
        return issuer.answer(asked) if asked.path == JWKS else Reply(status=404)

    issuer.api.answer = answer
    with run_bench(issuer, issuer.settings(issuer=name, jwks_url=None)) as bench:
        assert bench.verify(issuer.token(iss=name)) is not None


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}/", "jwks_uri": "{url}/keys"},
        {"jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": ["{url}/keys"]},
        {"issuer": "{url}", "jwks_uri": "/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///keys"},
        {"issuer": "{url}", "jwks_uri": "http://\u00e9/keys"},
        ["{url}"],
    ],
)
def test_metadata_that_are_not_the_issuer_s_own_are_not_followed(issuer: Issuer, metadata: Any) -> None:
    body = json.dumps(metadata).replace("{url}", issuer.api.url).encode()
    issuer.api.answer = lambda asked: Reply(body) if asked.path == METADATA else issuer.answer(asked)
    with run_bench(issuer, issuer.settings(jwks_url=None)) as bench:
        refuse_for_now(bench, issuer.token())
    assert issuer.fetches == 0


def test_an_encrypted_issuer_cannot_send_for_its_keys_in_the_open() -> None:
    name = "https://login.example"
    metadata = {"issuer": name, "jwks_uri": "https://keys.example/all"}
    assert read_metadata(json.dumps(metadata).encode(), name, "jwks_uri") == "https://keys.example/all"
    with pytest.raises(UnusableAnswerError, match="not use https"):
        read_metadata(json.dumps(metadata | {"jwks_uri": "http://login.example/keys"}).encode(), name, "jwks_uri")


# Issuers that are down, slow, or answer something else

HTML = b"<!doctype html><title>Log in</title>"
GOOD = json.dumps({"keys": [public_jwk(make_key("RSA"), kid="one")]}).encode()
BAD: dict[str, Reply] = {
    "500": Reply(GOOD, status=500),
    "404": Reply(GOOD, status=404),
    "204": Reply(b"", status=204),
    "a redirect": Reply(GOOD, status=302, headers={"Location": "/moved"}),
    "a permanent redirect": Reply(GOOD, status=308, headers={"Location": "/moved"}),
    "HTML": Reply(HTML, headers={"Content-Type": "text/html"}),
    "nothing": Reply(b""),
    "no text": Reply(b"\xff\xfe\x00" * 50),
    "no object": Reply([1]),
    "no list of keys": Reply({"keys": {"one": 1}}),
    "no keys": Reply({}),
    "keys twice": Reply(b'{"keys": [], ' + GOOD[1:]),
    "deep JSON": Reply(b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "5 MB": Reply(GOOD[:-1] + b', "x": "' + b"x" * 5 * 2**20 + b'"}'),
    "a little over 256 KB": Reply(GOOD + b" " * (256 * 1024 + 1 - len(GOOD))),
    "packed keys": Reply(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"}),
    "half of it": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + GOOD),
    "no HTTP": Reply(raw=b"SSH-2.0-OpenSSH_9.9\r\n"),
    "silence": Reply(raw=b""),
}


def test_the_log_says_whose_keys_could_not_be_fetched_and_why(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.issuer.api.play(BAD["500"])
    refuse_for_now(bench, bench.issuer.token())
    (line,) = [FieldsFormatter().format(record) for record in caplog.records if record.name == "decant.tokens"]
    assert f" warning issuer_keys_not_fetched issuer={bench.issuer.api.url} reason=" in line
    assert "500" in line


@pytest.mark.parametrize("name", BAD)
def test_an_issuer_that_never_answered_well_makes_its_tokens_wait(bench: Bench, name: str) -> None:
    bench.issuer.api.play(BAD[name])
    problem = refuse_for_now(bench, bench.issuer.token())
    assert problem.headers == {"Retry-After": "30"}
    bench.clock.now += 20.5
    assert refuse_for_now(bench, bench.issuer.token()).headers == {"Retry-After": "10"}
    assert "issuer" in problem.detail
    assert "database" not in problem.detail
    assert bench.verify(bench.issuer.token(exp=NOW)) is None
    assert bench.verify("nonsense") is None
    assert [asked.path for asked in bench.issuer.api.asked] == [JWKS]


@pytest.mark.sampled
@pytest.mark.parametrize("name", BAD)
def test_keys_of_an_issuer_that_went_down_are_used_for_a_day(bench: Bench, name: str) -> None:
    text, unknown = bench.issuer.token(exp=LATE), bench.issuer.token("two", make_key("RSA", 1), exp=LATE)
    assert bench.verify(text) is not None
    bench.issuer.api.play(BAD[name])
    for seconds in (600, 30, 3600, DAY - 4230 - 0.1):
        bench.clock.now += seconds
        assert bench.verify(text) is not None
        assert bench.verify(unknown) is None
    assert 5 >= bench.issuer.fetches > 2
    bench.clock.now += 0.1
    refuse_for_now(bench, text)
    bench.issuer.api.answer = bench.issuer.answer
    bench.clock.now += 30
    assert bench.verify(text) is not None


def test_just_256_kb_are_taken(bench: Bench) -> None:
    bench.issuer.api.play(Reply(GOOD + b" " * (256 * 1024 - len(GOOD))))
    assert bench.verify(bench.issuer.token()) is not None


def test_an_issuer_that_is_not_there_makes_its_tokens_wait(issuer: Issuer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, but not listening
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/keys"
        with run_bench(issuer, issuer.settings(jwks_url=url)) as bench:
            refuse_for_now(bench, issuer.token())


def test_an_issuer_that_does_not_answer_is_waited_for_only_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, go = bench.issuer.token(exp=LATE), threading.Event()
    assert bench.verify(text) is not None

    def answer(asked: Asked) -> Reply:
        go.wait(20)
        return bench.issuer.answer(asked)

    bench.issuer.api.answer = answer
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2)
    bench.clock.now += 600
    assert bench.verify(text) is not None
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 20.0)
    bench.clock.now += 30
    started = time.monotonic()
    assert bench.verify(text) is not None
    assert bench.verify(bench.issuer.token(sub="bob", exp=LATE)) is not None
    assert time.monotonic() - started < 5
    go.set()


def test_keys_that_drip_in_are_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        try:
            for _ in range(5000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            writer.close()

    async def run() -> float:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
            verifier = tokens.TokenVerifier([bench.issuer.settings(jwks_url=url)], wall=bench.clock)
            started = time.monotonic()
            with pytest.raises(Problem):
                await verifier.verify(bench.issuer.token())
            took = time.monotonic() - started
            await verifier.close()
        return took

    assert bench.runner.run(run()) < 5


def test_a_verifier_that_closes_ends_what_it_fetches(issuer: Issuer) -> None:
    arrived, go = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Reply:
        arrived.set()
        go.wait(20)
        return issuer.answer(asked)

    issuer.api.answer = answer

    async def run() -> float:
        verifier = tokens.TokenVerifier([issuer.settings()], wall=lambda: NOW)
        waiting = asyncio.create_task(verifier.verify(issuer.token()))
        await asyncio.to_thread(arrived.wait, 10)
        started = time.monotonic()
        await verifier.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        return time.monotonic() - started

    assert asyncio.run(run()) < 3
    go.set()
