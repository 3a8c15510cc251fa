"""What a report is made of. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from markdown_it.token import Token

from api.portal.explorer.question import Exploration

SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
SLUG_CHARACTERS = 80
# What a block may be, and the options that it takes.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "chart": ("caption", "measure"),
    "table": ("caption", "measure"),
    "figure": ("label", "unit"),
}
OVERVIEWS: Mapping[str, tuple[str, ...]] = {
    "state": ("caption",),
    "checks": ("caption",),
    "quarantine": ("caption",),
}
BLOCKS: Mapping[str, tuple[str, ...]] = {**QUESTIONS, **OVERVIEWS}


@dataclass(frozen=True)
class Place:
    """Where in the catalogue a block looks: a product or one of its datasets; everywhere without either."""

    product: str = ""
    major: str = ""
    dataset: str = ""

    @property
    def path(self) -> str:
        """The path of the same in the API, its parts as they stand in addresses."""
        parts = [self.product, f"v{self.major}", self.dataset] if self.product else []
        return "/".join(["/data", *filter(None, parts)])

    @property
    def page(self) -> str:
        """The path of its page."""
        return self.path.replace("/data", "/browse", 1)

    def holds(self, product: str, major: str, dataset: str) -> bool:
        """Whether a dataset is there."""
        if not self.product:
            return True
        return self.named[:2] == (product, major) and self.named[2] in {"", dataset}

    @property
    def named(self) -> tuple[str, str, str]:
        """Product, major and dataset by their names."""
        return unquote(self.product), self.major, unquote(self.dataset)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a part of a report, in words, and where."""

    line: int
    path: str
    message: str


@dataclass(frozen=True)
class Prose:
    """Markdown between blocks."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Block:
    """A block: what it asks, and how that is shown."""

    kind: str
    line: int
    number: int  # among the blocks of its report, from 1
    places: tuple[Place, ...] = ()
    question: Exploration = field(default_factory=Exploration)
    options: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    @property
    def is_question(self) -> bool:
        """Whether it asks one dataset, as the explorer does."""
        return self.kind in QUESTIONS

    @property
    def place(self) -> Place:
        """The dataset that it asks."""
        return self.places[0]

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"block {self.number} ({self.kind})"


@dataclass(frozen=True)
class Report:
    """One report, or what is wrong with its file."""

    slug: str
    title: str
    description: str = ""
    parts: tuple[Prose | Block, ...] = ()
    faults: tuple[Fault, ...] = ()  # of the whole file
    version: str = ""  # of the file's content

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in their order."""
        return [part for part in self.parts if isinstance(part, Block)]

    @property
    def all_faults(self) -> list[Fault]:
        """The faults of the file and of its blocks, by line."""
        found = [*self.faults, *(fault for block in self.blocks for fault in block.faults)]
        return sorted(found, key=lambda fault: fault.line)

    @property
    def path(self) -> str | None:
        """The path of its page; None where its name is no slug."""
        return f"/reports/{self.slug}" if is_slug(self.slug) else None


def is_slug(text: str) -> bool:
    """Whether a text can be a report's name in an address."""
    return len(text) <= SLUG_CHARACTERS and SLUG.fullmatch(text) is not None
