"""The words of a message: what, since when, what readers see, what to run, where to look. Never values of records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from catalog.model.notifications import EVENTS, Channel
from catalog.status.ages import show_age
from ingest.notifying.claims import Claim
from runtime.plain_text import plain

TITLE_CHARACTERS = 150
LINE_CHARACTERS = 500
TITLES = {
    "load_withheld": "load withheld",
    "load_failed": "load failed",
    "source_unreachable": "source does not answer",
    "freshness_missed": "data is late",
    "quarantine_growing": "new rejected records",
    "schema_changed": "source has changed",
    "schedule_missed": "schedule missed",
    "no_worker": "no worker is alive",
    "key_expiring": "key expires",
}
PREFIXES = {"begun": "", "reminder": "still: ", "recovered": "recovered: "}
# Chats read these as mentions, links and formatting.
TAMED = str.maketrans({"<": "‹", ">": "›", "&": "+", "`": "'", "*": "∗", "|": "¦", "[": "(", "]": ")", "~": "∼"})


@dataclass(frozen=True)
class Message:
    """One message."""

    id: str  # the same for each attempt, other for each message
    thread: str  # the same for all about one incident
    title: str
    text: str


def make_message(claim: Claim, channel: Channel, name: str, public_url: str | None, now: datetime) -> Message:
    """The message of a claim; `name` is the product's, as its contract has it."""
    row = claim.incident
    dataset = f".{row.dataset}" if row.dataset else ""
    about = f"{row.product or channel.product}@{row.major or channel.major}{dataset}" if row.product else "Decant"
    title = f"[{about}] {PREFIXES[claim.stage]}{TITLES[row.kind]}"
    since = f"{row.since:%Y-%m-%d %H:%M} UTC"
    lines = [f"Product: {name} ({channel.product}@{channel.major})"]
    if row.dataset:
        lines.append(f"Dataset: {row.dataset}")
    if claim.stage == "recovered":
        lines += [
            f"Over: {EVENTS[row.kind]}. This is no longer so.",
            f"It lasted from {since} to {row.ended_at:%Y-%m-%d %H:%M} UTC ({show_age(row.ended_at - row.since)}).",
        ]
    else:
        lines += [row.message, f"Since: {since} ({show_age(now - row.since)})", f"Next: {row.next}"]
    if public_url:
        lines.append(f"Console: {public_url.rstrip('/')}{row.path}")
    thread = f"incident-{row.id}"
    text = "\n".join(one_line(line, LINE_CHARACTERS) for line in lines)
    return Message(f"{thread}-{claim.sent + 1}-{claim.message_id}", thread, one_line(title, TITLE_CHARACTERS), text)


def make_test(channel: Channel, name: str, now: datetime) -> Message:
    """A message that says that messages arrive."""
    lines = [
        f"Product: {name} ({channel.product}@{channel.major})",
        f"This is a test of the channel {channel.name}. Nothing is wrong.",
        f"It is told of: {', '.join(event for event in EVENTS if event in channel.events)}.",
    ]
    stamp = f"test-{now:%Y%m%d%H%M%S%f}"
    title = one_line(f"[{channel.product}@{channel.major}] test message", TITLE_CHARACTERS)
    return Message(stamp, stamp, title, "\n".join(one_line(line, LINE_CHARACTERS) for line in lines))


def one_line(text: str, limit: int) -> str:
    """The text in one line, harmless and short."""
    return plain(" ".join(text.split()), limit)


def for_chat(text: str) -> str:
    """The text without what a chat would obey: mentions, links, formatting. Addresses of pages stay as they are."""
    return "\n".join(line if is_link(line) else tame(line) for line in text.split("\n"))


def is_link(line: str) -> bool:
    """Whether a line is Decant's own link, which holds nothing from outside."""
    return re.fullmatch(r"Console: https?://[A-Za-z0-9./:?=_-]+", line) is not None


def tame(line: str) -> str:
    """A line without special signs; an @ before a digit is a major version, any other one is parted from its word."""
    return re.sub(r"@(?!\d)", "@ ", line.translate(TAMED))
