"""Query and response values that the phases of a dataset request pass on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from api.database.published_heads import Head
from api.http.negotiation import MediaType

if TYPE_CHECKING:
    from api.query.view import View


@dataclass(frozen=True, slots=True)
class Target:
    """The raw parts of a request's address."""

    path: str  # raw, percent-encoded, beginning at the host or at the public URL
    query_string: bytes
    key: str = ""  # raw: the path after `/records/`


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, without the revision that answers it."""

    query: Any  # the kind's own frozen value
    canonical: bytes  # all of it that decides on the answer's bytes; part of the entity tag
    at: int | datetime | None = None
    pins: tuple[int, ...] = ()  # a cursor's revisions, of the dataset and its related_views
    epoch: str | None = None  # of the revisions that the caller names, where they say
    seen: int = 0  # the caller names this revision of the dataset: an older head is read again
    media_type: MediaType | None = None  # that the address names; otherwise the Accept header decides
    related_views: tuple[View, ...] = ()  # other datasets that are read, as the caller sees them
    tags: dict[object, str] = field(
        default_factory=dict, compare=False, repr=False
    )  # entity tags of its latest answers


@dataclass(frozen=True, slots=True)
class Pin:
    """Which revisions are read, of the dataset and its related_views, and the revisions of their heads."""

    revisions: tuple[int, ...]
    heads: tuple[Head, ...]
    epoch: str  # in which the revisions count
    fixed: bool  # whether the caller named them; otherwise a statement may find, and serve, newer ones
    by_time: bool = False  # named by a moment: a publication that is not committed yet may still come before it

    @property
    def revision(self) -> int:
        """The revision of the dataset that was asked."""
        return self.revisions[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered with."""

    body: bytes
    revisions: tuple[int, ...]  # as read: of the dataset and its related_views
    modified: int = 0  # when the newest of them was published, in seconds since 1970; 0 where nothing was
    next_url: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
