"""Formats of texts: the same to RE2 and to Python, and what the standards behind them say."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.types.logical_formats import INTEGER_FORMATS, TEXT_FORMATS
from tests.support.examples import examples

GOOD = {
    "email": ["ada@example.org", "a.b+c@x-y.example", "o'neil@localhost", "x@1.example", "a@" + "b" * 63 + ".de"],
    "uri": [
        "https://example.org/",
        "http://a:80/b?c=d#e",
        "mailto:ada@example.org",
        "urn:isbn:0451450523",
        "http://[2001:db8::1]:80/%20",
        "file:///etc/hosts",
        "a:",
        "https://example.org?x=/?",
        "tel:+49-30-1",
    ],
    "uuid": ["6f1e2d3c-0000-4000-8000-000000000000", "6F1E2D3C-0000-4000-8000-00000000000A"],
    "hostname": ["example.org", "a", "xn--bcher-kva.example", "1and1.de", ".".join(["a" * 63] * 3)],
    "ipv4": ["0.0.0.0", "255.255.255.255", "192.0.2.1"],
    "ipv6": ["::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7::", "::ffff:192.0.2.1", "1::2:3"],
    "byte": ["", "aGk=", "aA==", "AAAA", "+/+/"],
}
BAD = {
    "email": [
        "",
        "ada",
        "@example.org",
        "ada@",
        "a b@example.org",
        ".a@example.org",
        "a..b@example.org",
        "a.@example.org",
        "a@-x.org",
        "a@x..org",
        "a@x.org.",
        "a@b@c.org",
        "jörg@example.org",
        "a@exämple.org",
        "a@" + "b" * 64 + ".de",
        "a@x.org\n",
        "a" * 250 + "@x.org",
    ],
    "uri": [
        "",
        "example.org",
        "//example.org",
        "http://a b",
        "http://a/%2",
        "1http://a",
        "http://[::1",
        "http://é",
        "http://a\n",
    ],
    "uuid": [
        "",
        "6f1e2d3c00004000800000000000000",
        "{6f1e2d3c-0000-4000-8000-000000000000}",
        "6f1e2d3c-0000-4000-8000-00000000000g",
    ],
    "hostname": ["", "-a", "a-", "a..b", "a.", ".a", "a_b", "a" * 64, "ä.de", ".".join(["a" * 63] * 4) + ".aa"],
    "ipv4": ["", "1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4.5", "1.2.3.4 ", "１.2.3.4", "0x1.2.3.4"],
    "ipv6": [
        "",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "12345::",
        "g::",
        "fe80::1%eth0",
        "::1.2.3.256",
    ],
    "byte": ["a", "aGk", "aGk==", "a===", "aGk=\n", "a-_b", "aG k"],
}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def matches(engine: duckdb.DuckDBPyConnection, name: str, text: str) -> bool:
    known = TEXT_FORMATS[name]
    assert known.regex is not None
    row = engine.execute("SELECT regexp_full_match(?, ?)", [text, known.regex]).fetchone()
    by_python = re.fullmatch(known.regex, text) is not None
    assert row == (by_python,), text
    return by_python and (known.longest is None or len(text) <= known.longest)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in GOOD.items() for text in texts])
def test_a_text_in_the_format_is_taken(engine: duckdb.DuckDBPyConnection, name: str, text: str) -> None:
    assert matches(engine, name, text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_any_other_text_is_not(engine: duckdb.DuckDBPyConnection, name: str, text: str) -> None:
    assert not matches(engine, name, text)


@settings(max_examples=examples(200), deadline=None, database=None)
@given(
    st.one_of(
        st.ip_addresses(v=6).map(str),
        st.text("0123456789abcdef:.", max_size=30),
        st.ip_addresses(v=6).map(lambda a: a.exploded),
    )
)
def test_an_ipv6_address_is_what_the_library_of_addresses_takes(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
        valid = True
    except ValueError:
        valid = False
    assert (re.fullmatch(TEXT_FORMATS["ipv6"].regex or "", text) is not None) == valid


@settings(max_examples=examples(100), deadline=None, database=None)
@given(st.one_of(st.ip_addresses(v=4).map(str), st.text("0123456789.", max_size=16)))
def test_an_ipv4_address_is_what_the_library_of_addresses_takes(text: str) -> None:
    try:
        ipaddress.IPv4Address(text)
        valid = True
    except ValueError:
        valid = False
    assert (re.fullmatch(TEXT_FORMATS["ipv4"].regex or "", text) is not None) == valid


@pytest.mark.parametrize("name", GOOD)
def test_a_long_text_takes_no_long_time(engine: duckdb.DuckDBPyConnection, name: str) -> None:
    text = "a." * 200_000 + "@" + "1:" * 200_000 + "!"
    started = time.process_time()
    engine.execute("SELECT regexp_full_match(?, ?)", [text, TEXT_FORMATS[name].regex]).fetchone()
    assert time.process_time() - started < 2  # seconds; what backtracks would take hours


def test_whole_numbers_have_the_bounds_of_their_bits() -> None:
    assert INTEGER_FORMATS["i8"] == (-128, 127)
    assert INTEGER_FORMATS["u8"] == (0, 255)
    assert INTEGER_FORMATS["i64"] == (-(2**63), 2**63 - 1)
    assert INTEGER_FORMATS["u128"] == (0, 2**128 - 1)
