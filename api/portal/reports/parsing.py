"""The text of a report -> its parts, with everything that is wrong with it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from markdown_it.token import Token

from api.portal.reports.blocks import read_block
from api.portal.reports.markdown import MARKDOWN
from api.portal.reports.model import BLOCKS, Block, Fault, Prose, Report
from catalog.document.yaml_document import parse_document
from runtime.near_misses import find_near
from runtime.plain_text import plain

FENCE = "---"
LIMITS = {"title": 120, "description": 400}  # characters
BLOCKS_MAXIMUM = 40
UNTITLED = "a report begins with front matter: a line ---, then title: and description:, then a line ---"


def parse_report(slug: str, raw: bytes) -> Report:
    """The report that a file's bytes hold; what is wrong is among its faults."""
    version = hashlib.blake2b(raw, digest_size=16).hexdigest()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Report(slug, slug, faults=(Fault(1, "", f"is not UTF-8 (byte {error.start})"),), version=version)
    lines = plain(text.replace("\r\n", "\n").replace("\r", "\n"), None).split("\n")
    facts, begin, faults = read_front_matter(lines)
    title, description = facts.get("title", slug), facts.get("description", "")
    try:
        # As many lines as stand before it, so that its lines are those of the file.
        tokens = MARKDOWN.parse("\n" * begin + "\n".join(lines[begin:]))
    except (RecursionError, ValueError, IndexError):
        faults.append(Fault(begin + 1, "", "cannot be read as Markdown"))
        tokens = []
    parts, found = split_parts(tokens, lines)
    return Report(slug, title, description, tuple(parts), (*faults, *found), version)


def read_front_matter(lines: Sequence[str]) -> tuple[dict[str, str], int, list[Fault]]:
    """Title and description, the number of lines before the text, and what is wrong with them."""
    ends = [index for index, line in enumerate(lines) if line.rstrip() == FENCE]
    if len(ends) < 2 or ends[0] != 0:
        return {}, 0, [Fault(1, "front matter", UNTITLED)]
    begin = ends[1] + 1
    document, findings = parse_document(Path(), "\n" + "\n".join(lines[1 : ends[1]]))
    if document is None:
        return {}, begin, [Fault(finding.line, "front matter", finding.message) for finding in findings]
    if not isinstance(document.data, dict):
        return {}, begin, [Fault(2, "front matter", UNTITLED)]
    facts: dict[str, str] = {}
    faults = []
    for name, value in document.data.items():
        line = document.line_of((name,))
        if name not in LIMITS:
            near = find_near(str(name), LIMITS)
            hint = f"; did you mean {near!r}?" if near else "; known are title, description"
            faults.append(Fault(line, "front matter", f"unknown field {str(name)!r}{hint}"))
        elif not isinstance(value, str) or not value.strip() or len(value) > LIMITS[name]:
            faults.append(Fault(line, "front matter", f"{name}: must be a text of 1 to {LIMITS[name]} characters"))
        else:
            facts[name] = " ".join(value.split())
    faults += [Fault(1, "front matter", f"{name}: is missing") for name in LIMITS if name not in document.data]
    return facts, begin, faults


def split_parts(tokens: Sequence[Token], lines: Sequence[str]) -> tuple[list[Prose | Block], list[Fault]]:
    """Prose and blocks in their order, and what is wrong with fences."""
    parts: list[Prose | Block] = []
    faults: list[Fault] = []
    prose: list[Token] = []
    number = 0
    for token in tokens:
        kind = token.info.strip().split(maxsplit=1)[0] if token.type == "fence" and token.info.strip() else ""
        begin = token.map[0] if token.map else 0
        if token.type == "fence" and not is_closed(token, lines):
            faults.append(Fault(begin + 1, "", "the fence that begins here is never closed"))
        if kind not in BLOCKS:
            faults += judge_code(token, kind, begin + 1)
            prose.append(token)
            continue
        number += 1
        block = read_block(kind, token.content, begin + 2, number)
        if token.level:
            wrong = Fault(begin + 1, block.name, "stands within a list or a quotation: blocks stand by themselves")
            block = replace(block, faults=(wrong, *block.faults))
        if number == BLOCKS_MAXIMUM + 1:
            faults.append(Fault(begin + 1, "", f"has more than {BLOCKS_MAXIMUM} blocks: the others are not shown"))
        if token.level or number > BLOCKS_MAXIMUM:
            faults += block.faults
            continue
        if prose:
            parts.append(Prose(tuple(prose)))
            prose = []
        parts.append(block)
    if prose:
        parts.append(Prose(tuple(prose)))
    return parts, faults


def is_closed(token: Token, lines: Sequence[str]) -> bool:
    """Whether a fence ends with a fence, not with the text."""
    begin, end = token.map or (0, 0)
    last = lines[end - 1].strip().lstrip("> ") if begin + 1 < end <= len(lines) else ""
    return len(last) >= len(token.markup) and set(last) == set(token.markup)


def judge_code(token: Token, kind: str, line: int) -> list[Fault]:
    """A fault where plain code was meant to be a block."""
    if token.type != "fence":
        return []
    near = find_near(kind, BLOCKS) if kind else None
    if near is None and "/browse/" not in token.content.partition("\n")[0]:
        return []
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(BLOCKS)}"
    return [Fault(line, "", f"{kind or 'no word'!r} behind the fence is no kind of block; {hint}")]
