"""The words of a message: what, since when, what readers see, what to run, where to look. Never values of records."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from catalog.model.notifications import EVENTS, Channel
from catalog.status.ages import show_age
from ingest.notifying.claims import Claim, Stage
from runtime.plain_text import plain
from runtime.postgres.sql_types import SqlRow

TITLE_CHARACTERS = 150
LINE_CHARACTERS = 500
INCIDENTS_SHOWN = 20  # of those that one message tells of
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
    threads: tuple[str, ...]  # the same for all about one incident
    title: str
    text: str


def make_message(claim: Claim, channel: Channel, name: str, public_url: str | None, now: datetime) -> Message:
    """The message of a claim; `name` is the product's, as its contract has it."""
    threads = tuple(f"incident-{row.id}" for row in claim.entries)
    lines = [f"Product: {name} ({channel.product}@{channel.major})"]
    shown = claim.entries[:INCIDENTS_SHOWN]
    for row in shown:
        if len(claim.entries) > 1:
            lines.append("")
        if row.dataset:
            lines.append(f"Dataset: {row.dataset}")
        lines += describe(row, claim.stage, now)
        if public_url:
            lines.append(f"Console: {public_url.rstrip('/')}{row.path}")
    if unshown := len(claim.entries) - len(shown):
        lines += ["", f"{unshown:,} more: decant status"]
    text = "\n".join(one_line(line, LINE_CHARACTERS) for line in lines)
    return Message(make_id(claim), threads, one_line(make_title(claim, channel), TITLE_CHARACTERS), text)


def make_title(claim: Claim, channel: Channel) -> str:
    """What a message is about: the dataset, or how many incidents of each kind."""
    if len(claim.entries) > 1:
        counts = Counter(TITLES[row.kind] for row in claim.entries)
        words = ", ".join(f"{title} ({count:,})" if count > 1 else title for title, count in counts.items())
        return f"[{channel.product}@{channel.major}] {PREFIXES[claim.stage]}{words}"
    (row,) = claim.entries
    dataset = f".{row.dataset}" if row.dataset else ""
    about = f"{row.product}@{row.major}{dataset}" if row.product else "Decant"
    return f"[{about}] {PREFIXES[claim.stage]}{TITLES[row.kind]}"


def make_id(claim: Claim) -> str:
    """What a message of the same incidents has again when it is sent again, and no other message."""
    numbers = [f"{row.sent + 1}-{row.message_id}" for row in claim.entries]
    others = hashlib.sha256(" ".join(numbers[1:]).encode()).hexdigest()[:16] if numbers[1:] else ""
    return "-".join(filter(None, (f"incident-{claim.entries[0].id}", numbers[0], others)))


def describe(row: SqlRow, stage: Stage, now: datetime) -> list[str]:
    """One incident in a few lines."""
    since = f"{row.since:%Y-%m-%d %H:%M} UTC"
    if stage != "recovered":
        return [row.message, f"Since: {since} ({show_age(now - row.since)})", f"Next: {row.next}"]
    return [
        f"Over: {EVENTS[row.kind]}. This is no longer so.",
        f"It lasted from {since} to {row.ended_at:%Y-%m-%d %H:%M} UTC ({show_age(row.ended_at - row.since)}).",
    ]


def make_test(channel: Channel, name: str, now: datetime) -> Message:
    """A message that says that messages arrive."""
    lines = [
        f"Product: {name} ({channel.product}@{channel.major})",
        f"This is a test of the channel {channel.name}. Nothing is wrong.",
        f"It is told of: {', '.join(event for event in EVENTS if event in channel.events)}.",
    ]
    stamp = f"test-{now:%Y%m%d%H%M%S%f}"
    title = one_line(f"[{channel.product}@{channel.major}] test message", TITLE_CHARACTERS)
    return Message(stamp, (stamp,), title, "\n".join(one_line(line, LINE_CHARACTERS) for line in lines))


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
