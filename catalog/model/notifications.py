"""Which people are told of which incidents: the channels that a contract names in `support`."""

from __future__ import annotations

import re
from dataclasses import dataclass

ALL = "all"
# Event of a contract's `notify` -> what it means, in the order of the documents.
EVENTS = {
    "load_withheld": "a failed check keeps a batch from publication",
    "load_failed": "a load has failed, and is not tried again",
    "source_unreachable": "the broker of a stream, or the source of a replicated table, does not answer or refuses",
    "freshness_missed": "a dataset does not keep the latency that its contract promises",
    "quarantine_growing": "the newest load left rejected records that were not there before",
    "schema_changed": "the source has columns that no property reads, or has lost some that it had",
    "schedule_missed": "no load was made for the last tick of a schedule",
    "no_worker": "loads wait, or will be due, and no worker is alive",
    "key_expiring": "a key that may use the product ends within 14 days",
}
EMAIL = "email"
# Tool of a channel -> the Apprise services that its address may be of; None for any that reaches another machine.
TOOLS: dict[str, frozenset[str] | None] = {
    EMAIL: frozenset(),
    "slack": frozenset({"slack"}),
    "teams": frozenset({"msteams", "workflow", "workflows"}),
    "discord": frozenset({"discord"}),
    "googlechat": frozenset({"gchat"}),
    "webhook": frozenset({"json", "jsons"}),
    "other": None,
}
MAILTO = "mailto:"
MAIL_ADDRESS = re.compile(r"[A-Za-z0-9!#$&'*+/=^_{|}~-]+(\.[A-Za-z0-9!#$&'*+/=^_{|}~-]+)*@[A-Za-z0-9.-]{1,253}")
RECIPIENTS_MAXIMUM = 20
NAME_CHARACTERS = 100


@dataclass(frozen=True)
class Channel:
    """One way to people of a product."""

    product: str
    major: int
    name: str
    tool: str  # of TOOLS
    address: str  # as the contract writes it: `mailto:…`, or the `${NAME}` of a variable that holds it
    events: frozenset[str]  # of EVENTS

    @property
    def key(self) -> str:
        """What distinguishes it from every other channel."""
        return f"{self.product}@{self.major}/{self.name}"


def read_recipients(address: str) -> list[str]:
    """The recipients of a `mailto:` address; ValueError where it is more than addresses, or one is not valid."""
    recipients = address[len(MAILTO) :].split(",")
    for each in recipients:
        if not is_mail_address(each):
            raise ValueError(f"{each!r} is not a mail address such as ops@example.org")
    if len(recipients) > RECIPIENTS_MAXIMUM:
        raise ValueError(f"at most {RECIPIENTS_MAXIMUM} recipients are possible")
    return recipients


def is_mail_address(text: str) -> bool:
    """Whether a text is one plain address, without a name or anything that a header could end in."""
    return len(text) <= 254 and MAIL_ADDRESS.fullmatch(text) is not None
