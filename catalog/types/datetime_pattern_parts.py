"""The letters of JDK date patterns: what each means to DuckDB and to Python, and what patterns are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

OPTIONAL_SECTIONS_MAXIMUM = 4  # each doubles the number of forms
FRACTION_DIGITS_MAXIMUM = 6  # Postgres keeps microseconds

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOUR_OFFSET = "[+-](?:0[0-9]|1[0-5])"  # what Postgres takes: less than 16 hours
MINUTE_OFFSET = "[0-5][0-9]"


class DatetimePatternError(ValueError):
    """A pattern that cannot be read, or that does not fit its type; says which letter and why."""


@dataclass(frozen=True)
class Part:
    """One letter of a pattern, repeated, or a literal text."""

    field: str  # year, month, …; "" for a literal
    regex: str  # RE2 and Python alike
    strptime: str  # DuckDB's
    open_ended: bool = False  # takes more or fewer digits
    digits: bool = False


@dataclass(frozen=True)
class Section:
    """A section in brackets: it may be missing."""

    parts: tuple[Part | Section, ...]


Parts = tuple["Part | Section", ...]


def choices(words: tuple[str, ...], length: int | None = None) -> str:
    """A regular expression for one of several names, or for the beginnings of them."""
    return "|".join(word[:length] for word in words)


def number(field: str, regex: str, strptime: str, *, open_ended: bool = False) -> Part:
    """A part that is written in digits."""
    return Part(field, regex, strptime, open_ended, digits=True)


def offset(regex: str) -> Part:
    """A part that says how far from UTC a moment is."""
    return Part("offset", regex, "%z")


PARTS = {
    "yyyy": number("year", "[0-9]{4}", "%Y"),
    "yy": number("short year", "[0-9]{2}", "%Y"),
    "y": number("year", "[0-9]{1,4}", "%Y", open_ended=True),
    "M": number("month", "1[0-2]|0?[1-9]", "%m", open_ended=True),
    "MM": number("month", "0[1-9]|1[0-2]", "%m"),
    "MMM": Part("month name", choices(MONTHS, 3), "%b"),
    "MMMM": Part("month name", choices(MONTHS), "%B"),
    "d": number("day", "3[01]|[12][0-9]|0?[1-9]", "%d", open_ended=True),
    "dd": number("day", "0[1-9]|[12][0-9]|3[01]", "%d"),
    "DDD": number("day of year", "[0-3][0-9]{2}", "%j"),
    "E": Part("weekday", choices(DAYS, 3), "%a"),
    "EEEE": Part("weekday", choices(DAYS), "%A"),
    "a": Part("half", "AM|PM", "%p"),
    "H": number("hour", "2[0-3]|1[0-9]|0?[0-9]", "%H", open_ended=True),
    "HH": number("hour", "[01][0-9]|2[0-3]", "%H"),
    "h": number("half hour", "1[0-2]|0?[1-9]", "%I", open_ended=True),
    "hh": number("half hour", "0[1-9]|1[0-2]", "%I"),
    "m": number("minute", "[0-5]?[0-9]", "%M", open_ended=True),
    "mm": number("minute", "[0-5][0-9]", "%M"),
    "s": number("second", "[0-5]?[0-9]", "%S", open_ended=True),
    "ss": number("second", "[0-5][0-9]", "%S"),
    "X": offset(f"Z|{HOUR_OFFSET}(?:{MINUTE_OFFSET})?"),
    "XX": offset(f"Z|{HOUR_OFFSET}{MINUTE_OFFSET}"),
    "XXX": offset(f"Z|{HOUR_OFFSET}:{MINUTE_OFFSET}"),
    "x": offset(f"{HOUR_OFFSET}(?:{MINUTE_OFFSET})?"),
    "xx": offset(f"{HOUR_OFFSET}{MINUTE_OFFSET}"),
    "xxx": offset(f"{HOUR_OFFSET}:{MINUTE_OFFSET}"),
    "Z": offset(f"Z|{HOUR_OFFSET}:?{MINUTE_OFFSET}"),
    "ZZZZZ": offset(f"Z|{HOUR_OFFSET}:{MINUTE_OFFSET}"),
}
# Other ways to write the same.
PARTS |= {"u": PARTS["y"], "uu": PARTS["yy"], "uuuu": PARTS["yyyy"], "ZZ": PARTS["Z"], "ZZZ": PARTS["Z"]}
PARTS |= {"EE": PARTS["E"], "EEE": PARTS["E"], "L": PARTS["M"], "LL": PARTS["MM"], "LLL": PARTS["MMM"]}
PARTS |= {"LLLL": PARTS["MMMM"]}
PARTS |= {
    "S" * count: number("fraction", f"[0-9]{{{count}}}", "%g" if count == 3 else "%f")
    for count in range(1, FRACTION_DIGITS_MAXIMUM + 1)
}
MEANT = {"Y": "the year of a week; yyyy is the year", "D": "the day of the year; dd is the day of the month"}
SAME_FIELD = {"short year": "year", "month name": "month", "half hour": "hour", "day of year": "day"}
ECHOED = ("weekday", "day of year")  # strptime takes these without holding them against the date


def read_parts(text: str) -> Parts:
    """The parts of a pattern."""
    # The list at the end is the innermost section that is open.
    open_sections: list[list[Part | Section]] = [[]]
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|(.)", text, re.DOTALL):
        quoted, letter, other = found.group(1), found.group(2), found.group(3)
        if "{" in found.group() or "}" in found.group():
            raise DatetimePatternError("braces are not supported, even in quotes")
        if quoted is not None:
            open_sections[-1].append(literal(quoted.replace("''", "'") or "'"))
        elif letter is not None:
            open_sections[-1].append(read_letters(found.group()))
        elif other == "[":
            open_sections.append([])
        elif other == "]" and open_sections[1:]:
            section = Section(tuple(open_sections.pop()))
            open_sections[-1].append(section)
        elif other in "]#'":
            raise DatetimePatternError(f"{other!r} is unbalanced or unknown: put it in quotes")
        else:
            open_sections[-1].append(literal(other))
    if open_sections[1:]:
        raise DatetimePatternError("'[' is not closed")
    return tuple(open_sections[0])


def literal(text: str) -> Part:
    """A part that says nothing."""
    return Part("", re.escape(text), text.replace("%", "%%"))


def read_letters(letters: str) -> Part:
    """The part that a letter, written once or several times, means."""
    if letters == "T":
        return literal("T")
    if letters in PARTS:
        return PARTS[letters]
    if letters[0] == "S":
        raise DatetimePatternError(f"{letters}: at most {FRACTION_DIGITS_MAXIMUM} digits of a second are supported")
    if letters[0] in MEANT:
        raise DatetimePatternError(f"{letters} is {MEANT[letters[0]]}")
    known = ", ".join(part for part in PARTS if part[0] == letters[0])
    hint = f"supported are {known}" if known else "put it in quotes if it is literal text"
    raise DatetimePatternError(f"{letters} cannot be read; {hint}")


def check_parts(parts: Parts, kind: str) -> None:
    """MomentPatternError where the parts do not make a value of the kind, or can be read in two ways."""
    everything = list(flatten(parts))
    fields = [SAME_FIELD.get(part.field, part.field) for part in everything if part.field]
    sections = list(find_sections(parts))
    if twice := next((field for field in fields if fields.count(field) > 1), None):
        raise DatetimePatternError(f"the {twice} is repeated")
    if len(sections) > OPTIONAL_SECTIONS_MAXIMUM:
        raise DatetimePatternError(f"at most {OPTIONAL_SECTIONS_MAXIMUM} optional sections are supported")
    fixed = {*ECHOED, "short year"}
    if sections and any(part.field in fixed for part in everything):
        raise DatetimePatternError("optional sections are not supported with yy, E or DDD")
    if "offset" in fields and kind != "timestamp":
        raise DatetimePatternError(f"a {kind} has no offset from UTC; use timestamp without timezone: false")
    for section in sections:
        inside = {part.field for part in flatten(section.parts)} - {""}
        if "offset" in inside and len(inside) > 1:
            raise DatetimePatternError("an optional offset needs brackets of its own")
    for form in expand(parts):
        check_form(form, kind)


def check_form(form: list[Part], kind: str) -> None:
    """MomentPatternError where one form of a pattern lacks something, or can be read in two ways."""
    for part, following in pairwise(form):
        if part.digits and following.digits and (part.open_ended or part.strptime == "%f"):
            raise DatetimePatternError(
                f"the end of the {part.field} and the start of the {following.field} are ambiguous: use fixed widths"
            )
    named = {part.field for part in form}
    fields = {SAME_FIELD.get(field, field) for field in named}
    needed = ["hour"] if kind == "time" else ["year", "month", "day"]
    if "day of year" in named:
        needed = ["year"]
        if "month" in fields:
            raise DatetimePatternError("DDD is the day of the year: it must not be combined with a month")
    if "minute" in fields or "second" in fields or "fraction" in fields:
        needed.append("hour")
    needed += ["minute"] * ("second" in fields) + ["second"] * ("fraction" in fields)
    if missing := next((field for field in needed if field not in fields), None):
        raise DatetimePatternError(f"the {missing} is missing or optional")
    if ("half hour" in named) != ("half" in named):
        raise DatetimePatternError("h and a are needed together: h counts to 12, H to 23")


def flatten(parts: Parts) -> Iterator[Part]:
    """The parts, those of optional sections too."""
    for part in parts:
        if isinstance(part, Part):
            yield part
        else:
            yield from flatten(part.parts)


def find_sections(parts: Parts) -> Iterator[Section]:
    """The optional sections, however deep."""
    for part in parts:
        if isinstance(part, Section):
            yield part
            yield from find_sections(part.parts)


def expand(parts: Parts) -> Iterator[list[Part]]:
    """Every form that the pattern allows, the fullest first."""
    if not parts:
        yield []
        return
    first, rest = parts[0], parts[1:]
    heads = [[first]] if isinstance(first, Part) else [*expand(first.parts), []]
    for head in heads:
        for tail in expand(rest):
            yield head + tail


def has_offset(form: list[Part]) -> bool:
    """Whether a form says how far from UTC it is."""
    return any(part.field == "offset" for part in form)


def holds_offset(part: Part | Section) -> bool:
    """Whether a part is an offset, or an optional section with one."""
    return has_offset([part]) if isinstance(part, Part) else has_offset(list(flatten(part.parts)))


def formats_of(form: list[Part]) -> list[str]:
    """The strptime formats of a form; two where Z may be the offset."""
    text = "".join(part.strptime for part in form)
    if any(part.field == "offset" and part.regex.startswith("Z") for part in form):
        # DuckDB's %z reads digits only.
        return [text, "".join("Z" if part.field == "offset" else part.strptime for part in form)]
    return [text]


def regex_of(parts: Parts, *, named: bool = False) -> str:
    """The regular expression of the parts; with names, each part of a moment is a group."""
    pattern = ""
    for part in parts:
        if isinstance(part, Section):
            pattern += f"(?:{regex_of(part.parts, named=named)})?"
        elif named and part.field:
            pattern += f"(?P<{part.field.replace(' ', '_')}>{part.regex})"
        else:
            pattern += f"(?:{part.regex})" if "|" in part.regex else part.regex
    return pattern
