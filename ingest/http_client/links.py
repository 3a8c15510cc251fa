"""The header `Link` as RFC 8288 writes it: targets and what they are to the page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

BLANKS = " \t"
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
UNQUOTED = re.compile(r"[^\s;,]*")  # more than a token: servers leave the quotes of addresses out


@dataclass(frozen=True)
class Link:
    """One link; of a repeated parameter, the first counts."""

    target: str
    params: dict[str, str]  # names in small letters

    @property
    def relations(self) -> frozenset[str]:
        """What the target is to the page: the words of `rel`, whatever their case."""
        return frozenset(self.params.get("rel", "").lower().split())


def find_link(headers: httpx.Headers, relation: str, page: httpx.URL) -> str | None:
    """The target of the first link with this relation; links that are about something else than the page are none."""
    for field in headers.get_list("link"):
        for link in parse_links(field):
            if relation in link.relations and is_about(link, page):
                return link.target
    return None


def is_about(link: Link, page: httpx.URL) -> bool:
    """Whether a link is the page's own: an `anchor` makes it that of another resource, or of a part."""
    anchor = link.params.get("anchor")
    if anchor is None:
        return True
    try:
        return page.join(anchor) == page
    except (httpx.InvalidURL, ValueError):
        return False


def parse_links(field: str) -> Iterator[Link]:
    """The links of one header field; what is none is passed over up to the next comma."""
    offset = skip(field, 0, BLANKS + ",")
    while offset < len(field):
        end = field.find(">", offset) if field[offset] == "<" else -1
        if end >= 0:
            target = field[offset + 1 : end].strip()
            params, offset = read_params(field, end + 1)
            yield Link(target, params)
        offset = skip(field, pass_over(field, offset), BLANKS + ",")


def read_params(field: str, offset: int) -> tuple[dict[str, str], int]:
    """The parameters behind a target, and where they end."""
    params: dict[str, str] = {}
    while (offset := skip(field, offset, BLANKS)) < len(field) and field[offset] == ";":
        offset = skip(field, offset + 1, BLANKS)
        name = TOKEN.match(field, offset)
        if name is None:
            continue  # an empty parameter
        offset = skip(field, name.end(), BLANKS)
        value = ""
        if offset < len(field) and field[offset] == "=":
            value, offset = read_value(field, skip(field, offset + 1, BLANKS))
        params.setdefault(name[0].lower(), value)
    return params, offset


def read_value(field: str, offset: int) -> tuple[str, int]:
    """A parameter's value, its quotes and escapes taken off, and where it ends."""
    if quoted := QUOTED.match(field, offset):
        return ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    bare = UNQUOTED.match(field, offset)
    return (bare[0], bare.end()) if bare else ("", offset)


def pass_over(field: str, offset: int) -> int:
    """The place of the next comma outside quotes."""
    while offset < len(field) and field[offset] != ",":
        quoted = QUOTED.match(field, offset)
        offset = quoted.end() if quoted else offset + 1
    return offset


def skip(field: str, offset: int, letters: str) -> int:
    """The place of the next character that is none of these."""
    while offset < len(field) and field[offset] in letters:
        offset += 1
    return offset
