"""The header `Link`, as RFC 8288 lets servers write it."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http_client.links import find_link, parse_links

PAGE = httpx.URL("https://api.example.org/v1/quakes?page=1")


def find(*fields: str) -> str | None:
    return find_link(httpx.Headers([("Link", field) for field in fields]), "next", PAGE)


@pytest.mark.parametrize(
    ("field", "target"),
    [
        ('</q?page=2>; rel="next"', "/q?page=2"),
        ('</q?page=2>; rel="next last"', "/q?page=2"),
        ('</q?page=2>; rel="last\tnext"', "/q?page=2"),
        ("</q?page=2>; rel=next", "/q?page=2"),
        ("</q?page=2>;rel=next;x", "/q?page=2"),
        ('</q?page=2>; Rel="NEXT"', "/q?page=2"),
        ('</q?page=2> ; REL = "next"', "/q?page=2"),
        ('<?page=2>; rel="next"', "?page=2"),
        ('< https://api.example.org/b >; rel="next"', "https://api.example.org/b"),
        ('</q?a=1,2;b=3>; title="one, two; \\"<three>\\"; rel=prev"; rel="next"', "/q?a=1,2;b=3"),
        ('</first>; rel="first", </q?page=2>; rel="next", </last>; rel="last"', "/q?page=2"),
        (",, </first>; rel=first,</q>; ; rel=next,", "/q"),
        ('no link, </q>; rel="next"', "/q"),
        ('"</quoted>; rel=next", </q>; rel="next"', "/q"),
        ('</section>; rel="next"; anchor="#chapter2", </q>; rel="next"', "/q"),
        ('</other>; rel="next"; anchor="/v1/others", </q>; rel="next"', "/q"),
        ('</q>; rel="next"; anchor="?page=1"', "/q"),
        ('</q>; rel="first"; rel="next"', None),
        ('</q>; rev="next"', None),
        ('</q>; rel="nextish"', None),
        ('</q>; rel="https://example.org/next"', None),
        ('</q>; title="rel=next"', None),
        ('</q; rel="next"', None),
        ("", None),
    ],
)
def test_the_next_page_is_found(field: str, target: str | None) -> None:
    assert find(field) == target


def test_each_field_is_read_by_itself() -> None:
    assert find('</first>; rel="first"', '</q>; title="open', '</p>; rel="next"') == "/p"
    assert find('</a>; rel="next"', '</b>; rel="next"') == "/a"


@given(st.text(alphabet='<>;,="\\ \tanrelxt/?', max_size=40))
def test_any_text_is_read_to_its_end(field: str) -> None:
    assert len(list(parse_links(field))) <= field.count("<")


NAMES = st.sampled_from(["title", "type", "hreflang", "media"])
TEXTS = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4), st.integers(0, 4))
def test_what_is_written_is_read(params: list[tuple[str, str]], place: int) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    written = [f"{name}={quote(text)}" for name, text in params]
    written.insert(min(place, len(written)), 'rel="prev next"')
    field = f"</other>; rel=first, </a,b;c>; {'; '.join(written)}, </last>; rel=last"
    links = list(parse_links(field))
    assert [link.target for link in links] == ["/other", "/a,b;c", "/last"]
    assert find(field) == "/a,b;c"
    for name, _ in params:
        first = next(value for known, value in params if known == name)
        assert links[1].params[name] == first
