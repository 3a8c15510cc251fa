"""Markdown of reports: CommonMark with tables, without HTML and without images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

# Of the environment: what makes the address of a path of the service, and what numbers tables.
URL, NUMBERS = "url", "numbers"


def make_markdown() -> MarkdownIt:
    """The parser, whose output can stand in a page."""
    made = MarkdownIt("commonmark", {"html": False}).disable("image").enable("table")
    made.add_render_rule("fence", render_code)
    made.add_render_rule("code_block", render_code)
    made.add_render_rule("link_open", render_link)
    made.add_render_rule("heading_open", render_heading)
    made.add_render_rule("heading_close", render_heading)
    made.add_render_rule("table_open", render_table)
    made.add_render_rule("table_close", lambda *_: "</table></div>")
    return made


def render_code(_renderer: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    """A code block that the keyboard can scroll."""
    return f'<pre tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'


def render_link(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    """A link; one within the service leads there under whatever path it stands."""
    href = str(tokens[index].attrGet("href") or "")
    if href.startswith("/") and not href.startswith("//"):
        return f'<a href="{escape(env[URL](href))}">'
    return f'<a href="{escape(href)}" rel="noreferrer">'


def render_table(_renderer: Any, _tokens: Sequence[Token], _index: int, _options: Any, env: dict[str, Any]) -> str:
    """The beginning of a table that the keyboard can scroll, under a name that no other has."""
    label = f"Table {next(env[NUMBERS])} of the text"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="rows">'


def render_heading(_renderer: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    """A heading below the page's own, which is the title."""
    token = tokens[index]
    tag = "h2" if token.tag == "h1" else token.tag
    return f"<{tag}>" if token.nesting == 1 else f"</{tag}>\n"


MARKDOWN = make_markdown()


def render_prose(tokens: Sequence[Token], url: Callable[[str], str], numbers: Iterator[int]) -> Markup:
    """Tokens as HTML; `numbers` go on from one prose of a page to the next."""
    html = MARKDOWN.renderer.render(list(tokens), MARKDOWN.options, {URL: url, NUMBERS: numbers})
    return Markup(html)  # noqa: S704 - HTML is off: what looks like it is escaped
