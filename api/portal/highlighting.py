"""YAML -> HTML whose parts have classes. No style and no script stands in it."""

from __future__ import annotations

from functools import cache

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.data import YamlLexer

from runtime.plain_text import plain

CHARACTERS_MAXIMUM = 200_000  # longer texts stay plain: colouring takes time that grows with them
CLASS_PREFIX = "y-"


@cache
def tools() -> tuple[YamlLexer, HtmlFormatter]:
    """What splits a text, and what writes its parts."""
    return YamlLexer(stripnl=False), HtmlFormatter(nowrap=True, classprefix=CLASS_PREFIX)


def highlight_yaml(text: str) -> Markup:
    """The text with its parts in spans; what turns direction or controls a terminal is made visible."""
    shown = "\n".join(plain(line, None) for line in text.split("\n"))
    if len(shown) > CHARACTERS_MAXIMUM:
        return escape(shown)
    return Markup(highlight(shown, *tools()))  # noqa: S704 - the formatter escapes what it fills in
