"""Templates -> HTML. Everything that is filled in is escaped; Markdown of contracts cannot hold HTML."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, Undefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from api.auth.identify import VISITOR
from api.auth.session_store import MESSAGES
from api.auth.sessions import Visitor
from api.context import context_of
from api.http.addresses import asked_address, public_path
from api.portal.asking import Reply
from api.portal.assets import asset_path
from api.portal.checks import name_check, result_of
from api.portal.content import Content
from api.portal.explorer.columns import many
from api.portal.explorer.rounding import show_measured
from api.portal.figures import show_bound, show_number
from api.portal.record_path import record_path
from api.portal.reports.folder import reports_of
from api.portal.session_path import api_path
from api.portal.signing_in.form import Form, form_token
from api.portal.signing_in.refused import REFUSED, Refused
from runtime.plain_text import plain
from runtime.version import read_version

TEMPLATES = Path(__file__).resolve().parent / "templates"
WORD_ENDS = re.compile(r"(?<=[_./:-])(?=\w)|(?<=[a-z])(?=[A-Z])")  # scheduled_|departure, order|Lines
MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")


class Absent(Undefined):
    """A member that an answer does not have is empty; a name that a template has wrong is an error."""

    def check(self) -> None:
        """UndefinedError unless it is a member of an answer."""
        if not isinstance(self._undefined_obj, dict):
            self._fail_with_undefined_error()

    def __str__(self) -> str:
        self.check()
        return ""

    def __bool__(self) -> bool:
        self.check()
        return False


@cache
def environment() -> Environment:
    """The templates, with what they may call."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=Absent,
        finalize=show_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count": write_count,
        "figure": write_figure,
        "share": write_share,
        "bound": show_bound,
        "check": name_check,
        "result": result_of,
        "record_path": record_path,
        "many": many,
        "measured": write_measured,
        "shown": show_measured,
        "size": write_size,
        "when": write_time,
        "markdown": write_markdown,
        "breakable": write_name,
        "segment": lambda text: quote(str(text), safe=""),
    }
    found.globals |= {"asset": asset_path, "version": read_version()}
    return found


def render(request: Request, content: Content, replies: Sequence[Reply]) -> bytes:
    """The page, as who asks for it sees it; its foot names the questions that it is made of."""
    settings = context_of(request).settings
    visitor: Visitor | None = request.scope.get(VISITOR)  # none where who asks could not be found out
    session = visitor.session if visitor is not None else None
    past = visitor.past if visitor is not None else None
    refused: Refused | None = request.scope.get(REFUSED)

    def url(path: str) -> str:
        return public_path(settings, path)

    def api(address: str) -> str:
        return url(api_path(address, signed_in=session is not None))

    frame = {
        "page": content,
        "url": url,
        "api": api,
        "asked": sorted({reply.address for reply in replies if reply.is_told}),
        "here": asked_address(request),
        "held": visitor.principal.scopes if visitor is not None and session is not None else None,
        "form_token": form_token(settings, session) if session is not None else "",
        "has_reports": not reports_of(request).is_empty(),
        "notice": MESSAGES[past.ended] if past is not None and past.ended else "",
        "fault": refused.problem.detail if refused is not None else "",
        "typed": refused.form if refused is not None else Form([]),
        "once": lambda: secrets.token_urlsafe(16),
    }
    if hidden := frame.keys() & content.values.keys():
        raise AssertionError(f"{content.template}: the frame hides {', '.join(sorted(hidden))}")
    return environment().get_template(content.template).render(content.values, **frame).encode()


def show_text(value: Any) -> Any:
    """What a template fills in: text from outside with its controls visible, such as those that turn direction."""
    return plain(value, None) if type(value) is str else value


def write_count(value: int | None, noun: str = "") -> str:
    """A whole number with separators, and what is counted: `1 record`, `336,776 records`."""
    if value is None:
        return "–"
    return with_noun(f"{value:,}", value, noun)


def with_noun(text: str, number: float, noun: str) -> str:
    """A number that is written already, and what is counted; where that has no name, the number alone."""
    return f"{text} {noun}{'' if number == 1 else 's'}" if noun else text


def write_figure(value: Any, noun: str = "") -> str:
    """A value of a profile or a check, shortened where it is a number of many digits, and what is counted."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return with_noun(show_number(value), value, noun)
    return plain(str(value))


def write_measured(rule: Mapping[str, Any]) -> str:
    """What a rule measured, in the unit of its bound."""
    text = write_figure(rule["measured"])
    return f"{text} %" if rule["measured"] is not None and rule["bound"].endswith("%") else text


def write_share(part: int, whole: int) -> str:
    """A part of a whole as per cent; what is not nothing is never shown as 0, nor what is not all as 100."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %")


def write_size(count: int) -> str:
    """A number of bytes, as people compare sizes."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def write_time(text: str | None, absent: str = "never") -> Markup:
    """A moment as an absolute time, which a script makes relative: pages are kept, ages are not."""
    if text is None:
        return Markup("{}").format(absent)
    moment = datetime.fromisoformat(text)
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    shown = f"{moment.day} {moment:%b %Y, %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), shown)


def write_name(text: str) -> Markup:
    """A name that can be broken between its words, and not within them."""
    words = WORD_ENDS.split(plain(text, None))
    return Markup("<wbr>").join(words)


def write_markdown(text: str) -> Markup:
    """Text of a contract as HTML."""
    return Markup(MARKDOWN.render(plain(text.strip(), None)))  # noqa: S704 - HTML is off: what looks like it is escaped
