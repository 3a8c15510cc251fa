"""Consoles of commands: control characters in texts from outside are shown escaped, and never executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from runtime.plain_text import UNSHOWN, escape_character, plain


class PlainConsole(Console):
    """A console that shows control characters as escapes, and truncates very long texts."""

    def render_str(self, text: str, **options: Any) -> Any:
        """A text as it is printed; escaped here, so that column widths fit the escaped text."""
        return super().render_str(plain(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The printed segments: all output passes here, renderables that are not plain text included."""
        for segment in super().render(renderable, options):
            if segment.control or not UNSHOWN.search(segment.text):
                yield segment
            else:
                yield Segment(UNSHOWN.sub(escape_character, segment.text), segment.style)
