"""Where commands print: whatever a file, a driver or a server said, the terminal shows it and obeys none of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from runtime.plain_text import UNSHOWN, escape_character, plain


class PlainConsole(Console):
    """A console that shows control characters as escapes, and very long texts cut."""

    def render_str(self, text: str, **options: Any) -> Any:
        """A text as it is printed; here, so that columns are as wide as what stands in them."""
        return super().render_str(plain(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is printed, piece by piece: everything passes here, also what was no plain text before."""
        for segment in super().render(renderable, options):
            if segment.control or not UNSHOWN.search(segment.text):
                yield segment
            else:
                yield Segment(UNSHOWN.sub(escape_character, segment.text), segment.style)
