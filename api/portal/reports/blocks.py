"""The fenced blocks of reports: an address as it is copied from a browser, and options. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from api.portal.explorer.question import FACET, FACET_TIME, Exploration
from api.portal.reports.model import BLOCKS, QUESTIONS, Block, Fault, Place
from runtime.near_misses import find_near

OPTION = re.compile(r"([A-Za-z_-]+):(?:\s+(.*))?")
# An address with or without the service's own, which may lie under a path.
ADDRESS = re.compile(r"(?:https?://[^/?#\s]+(?:/[^?#\s]*?)?)?(/browse(?:/[^?#\s]*)?)(?:\?([^#\s]*))?(?:#\S*)?")
EXPLORER = re.compile(r"/browse/([^/]+)/v([0-9]+)/([^/]+)/explore")
PLACE = re.compile(r"/browse(?:/([^/]+)/v([0-9]+)(?:/([^/]+))?)?/?")
OPTION_CHARACTERS = 300
UNTOUCHED = "%[]():,*/=&?-._~+!$'@;"
HINT = "copy it from the explorer: /browse/PRODUCT/vMAJOR/DATASET/explore?…"


def read_block(kind: str, content: str, line: int, number: int) -> Block:
    """The block whose first line of content is `line`; its faults are part of it."""
    name = f"block {number} ({kind})"
    addresses: list[tuple[int, str]] = []
    options: dict[str, str] = {}
    faults: list[Fault] = []
    for offset, raw in enumerate(content.splitlines()):
        text, where = raw.strip(), line + offset
        option = OPTION.fullmatch(text)
        if option:
            faults += read_option(kind, option[1], (option[2] or "").strip(), options, Fault(where, name, ""))
        elif text:
            addresses.append((where, text))
    question = Exploration()
    places: list[Place] = []
    if kind in QUESTIONS:
        if len(addresses) != 1:
            word = "has no address" if not addresses else "has more than one address"
            faults.append(Fault(line, name, f"{word}; {HINT}"))
        for where, text in addresses[:1]:
            found = read_explorer(text)
            if found is None:
                faults.append(Fault(where, name, f"{show(text)} is no address of the explorer; {HINT}"))
            else:
                places, question = [found[0]], found[1]
    else:
        for where, text in addresses:
            place = read_place(text)
            if place is None:
                faults.append(Fault(where, name, f"{show(text)} is no address of a product or dataset, /browse/…"))
            else:
                places.append(place)
    return Block(kind, line, number, tuple(places), question, options, tuple(faults))


def read_option(kind: str, name: str, value: str, options: dict[str, str], at: Fault) -> Iterable[Fault]:
    """Keeps an option; faults where it is none of the block's, repeated, empty or too long."""
    known = BLOCKS[kind]
    message = ""
    if name not in known:
        near = find_near(name, known)
        hint = f"; did you mean {near!r}?" if near else f"; known are {', '.join(known)}"
        message = f"unknown option {name!r}{hint}"
    elif name in options:
        message = f"{name}: is repeated"
    elif not value:
        message = f"{name}: is empty"
    elif len(value) > OPTION_CHARACTERS:
        message = f"{name}: has more than {OPTION_CHARACTERS} characters"
    else:
        options[name] = value
    return [Fault(at.line, at.path, message)] if message else []


def read_explorer(text: str) -> tuple[Place, Exploration] | None:
    """The dataset and the question of an explorer's address; None where it is none."""
    address = ADDRESS.fullmatch(text)
    found = EXPLORER.fullmatch(address[1]) if address else None
    if address is None or found is None:
        return None
    question = Exploration.read(quote(address[2] or "", safe=UNTOUCHED))
    # Which values were counted on the explorer's page is no part of its question.
    return Place(*found.groups()), question.set(FACET, None).set(FACET_TIME, None)


def read_place(text: str) -> Place | None:
    """The place in the catalogue that an address leads to; None where it leads to none."""
    address = ADDRESS.fullmatch(text)
    found = PLACE.fullmatch(address[1]) if address and not address[2] else None
    return Place(*(part or "" for part in found.groups())) if found else None


def show(text: str) -> str:
    """A text within a message."""
    return repr(text if len(text) <= 80 else text[:79] + "…")
