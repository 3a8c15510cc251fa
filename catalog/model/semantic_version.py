"""Semantic versions of contracts: their order, and the lowest one that a change may carry. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import total_ordering

# All of SemVer 2.0.0, with a `v` before it where somebody writes one. Numbers are those that the ledger can hold.
IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMANTIC_VERSION = re.compile(
    r"v?(0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})"
    rf"(?:-{IDENTIFIER}(?:\.{IDENTIFIER})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
VERSION_TEXT = re.compile(
    r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?(.*)", re.DOTALL
)


class Step(IntEnum):
    """How far a version must move."""

    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> str:
        """major, minor or patch."""
        return self.name.lower()


@total_ordering
@dataclass(frozen=True)
class Version:
    """A semantic version; `suffix` is the part after a hyphen, such as rc.1."""

    major: int
    minor: int = 0
    patch: int = 0
    suffix: str = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor, patch."""
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + (f"-{self.suffix}" if self.suffix else "")

    def __lt__(self, other: Version) -> bool:
        return self.precedence() < other.precedence()

    def precedence(self) -> tuple[object, ...]:
        """What versions are ordered by: one with a suffix comes before the one without."""
        parts = [
            (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part)
            for part in self.suffix.split(".")
        ]
        return self.numbers, not self.suffix, parts

    def after(self, step: Step) -> Version:
        """The lowest version that a change which demands `step` may carry.

        Before 1.0.0 nothing is promised: what would be a major step there is a minor one, all else a patch.
        """
        if self.major == 0:
            step = Step.MINOR if step is Step.MAJOR else Step.PATCH
        if step is Step.MAJOR:
            return Version(self.major + 1)
        if step is Step.MINOR:
            return Version(self.major, self.minor + 1)
        return Version(self.major, self.minor, self.patch + 1)

    def allows(self, step: Step, following: Version) -> bool:
        """Whether a contract that follows this one may differ by `step`."""
        if self.suffix:
            # 2.0.0-rc.1 is on its way to 2.0.0: what it holds is not settled.
            return following > self
        return following.numbers >= self.after(step).numbers


def parse_version(text: str) -> Version:
    """The version that a text names; what is missing is zero, what is none at all is 0.0.0."""
    match = VERSION_TEXT.fullmatch(text.strip())
    if match is None:
        return Version(0)
    major, minor, patch, suffix, rest = match.groups()
    return Version(int(major), int(minor or 0), int(patch or 0), suffix or rest)
