"""What a page shows, before it is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.http.problems import KINDS, Problem


class Elsewhere(Exception):  # noqa: N818 - no error: the page has another address
    """The page stands at another path; on the way there a session may begin or end."""

    def __init__(self, path: str, *, opened: str | None = None, ends_session: bool = False) -> None:
        super().__init__(path)
        self.path = path
        self.opened = opened  # the text of a new session's cookie
        self.ends_session = ends_session


@dataclass(frozen=True)
class Content:
    """A template and its values."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    alternate: str | None = None  # the path of the same as JSON
    search: str = ""  # what stands in the search field
    problem: Problem | None = None  # what is wrong with the question, where the page says so beside its form
    is_kept: bool = True  # otherwise a part is missing for now, or the page has a form, and nobody keeps it
    indexed: bool = True  # whether search engines may list it
    version: str = ""  # what the page is made of beside the answers, such as the content of a file

    @property
    def status(self) -> int:
        """The status of the page."""
        return KINDS[self.problem.code].status if self.problem else 200
