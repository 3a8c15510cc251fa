"""JSON text -> raw records, each the very text that came: no number loses a digit. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

from api.http.problems import Problem
from runtime.json_types import Json

DEPTH_LIMIT = 32  # brackets within brackets
BLANK = re.compile(r"[ \t\n\r]*")
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
# With doubled backslashes out of the way: a pair of surrogates is a character, one alone is none, and NUL is no text.
PAIR = re.compile(r"(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
NO_TEXT = re.compile(r"(?i)\\u(0000|d[89a-f])")
SAFE_DIGITS = 300  # the largest double has 309
ENDS = re.compile(r"[\r\n]+")


class NumberError(ValueError):
    """A number that JSON has no word for, or that no double holds."""


class JsonText:
    """A JSON text that is read value by value; whatever is wrong with it is a Problem that says where.

    `location` is the place of the text for people, such as "line 7"; without it, lines and columns are counted.
    """

    def __init__(self, text: str, pointer: str = "", location: str = "") -> None:
        self.text = text
        self.pointer = pointer
        self.location = location

    def skip(self, at: int) -> int:
        """Where the blanks at a position end."""
        match = BLANK.match(self.text, at)
        return match.end() if match else at

    def read(self, at: int, pointer: str) -> tuple[Json, int]:
        """The value at a position, and where it ends. Its numbers are bytes."""
        try:
            value, end = SCAN(self.text, at)
        except NumberError as error:
            raise self.refuse("invalid_number", str(error), pointer) from None
        except json.JSONDecodeError as error:
            self.fail(error.msg, error.pos, pointer)
        except RecursionError:
            raise too_deep(pointer) from None
        raw = self.text[at:end]
        if raw.count("{") + raw.count("[") > DEPTH_LIMIT and depth_of(raw) > DEPTH_LIMIT:
            raise too_deep(pointer)
        if "\\u" in raw and NO_TEXT.search(PAIR.sub("", raw.replace("\\\\", ""))):
            raise self.refuse("invalid_text", "a text contains a NUL character or half a surrogate pair", pointer)
        return value, end

    def read_whole(self) -> tuple[Json, str]:
        """The one value of the text, and its raw text."""
        start = self.skip(0)
        value, end = self.read(start, self.pointer)
        self.end_here(end)
        return value, self.text[start:end]

    def read_items(self) -> Iterator[tuple[Json, str, str]]:
        """(value, raw text, pointer) of each item of the array that the text is."""
        at = self.skip(self.skip(0) + 1)
        if self.text[at : at + 1] == "]":
            self.end_here(at + 1)
            return
        index = 0
        while True:
            pointer = f"{self.pointer}/{index}"
            value, end = self.read(at, pointer)
            yield value, self.text[at:end], pointer
            at = self.skip(end)
            sign = self.text[at : at + 1]
            if sign == "]":
                self.end_here(at + 1)
                return
            if sign != ",":
                self.fail("',' or ']' is expected", at, pointer)
            at = self.skip(at + 1)
            index += 1

    def read_members(self) -> dict[str, tuple[Json, str]]:
        """(value, raw text) of each member of the object that the text is, by its name; a name twice is refused.

        The text has been read before: it is an object in good order.
        """
        members: dict[str, tuple[Json, str]] = {}
        at = self.skip(self.skip(0) + 1)
        while self.text[at] != "}":
            name, at = SCAN(self.text, at)
            at = self.skip(self.skip(at) + 1)
            value, end = self.read(at, f"{self.pointer}/{name}")
            if name in members:
                raise self.refuse("invalid_event", f"duplicate member {name!r}", self.pointer)
            members[name] = (value, self.text[at:end])
            at = self.skip(end)
            if self.text[at] == ",":
                at = self.skip(at + 1)
        return members

    def end_here(self, at: int) -> None:
        """A problem for anything but blanks behind the end."""
        if (rest := self.skip(at)) < len(self.text):
            self.fail("unexpected text after the end", rest, self.pointer)

    def fail(self, message: str, at: int, pointer: str) -> NoReturn:
        """The problem with a text that is no JSON."""
        column = at - self.text.rfind("\n", 0, at)
        location = self.location or f"line {self.text.count(chr(10), 0, at) + 1}"
        raise refuse_record("invalid_json", f"{location}, column {column}: {message}", pointer)

    def refuse(self, code: str, message: str, pointer: str) -> Problem:
        """A problem with one value."""
        return refuse_record(code, f"{self.location}: {message}" if self.location else message, pointer)


def refuse_record(code: str, message: str, pointer: str) -> Problem:
    """A problem with one record of a body; `pointer` is a JSON pointer into it."""
    detail = f"{pointer}: {message}" if pointer else message
    return Problem(code, detail, errors=[{"pointer": pointer, "message": message}])


def too_deep(pointer: str) -> Problem:
    """The problem with brackets within brackets within brackets."""
    return refuse_record("invalid_json", f"is nested more than {DEPTH_LIMIT} levels deep", pointer)


def depth_of(raw: str) -> int:
    """How deep the brackets of a JSON text are nested."""
    depth = deepest = 0
    for match in TOKEN.finditer(raw):
        if match[0] in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def one_line(raw: str) -> str:
    """The JSON text without line ends: inside of its strings there are none."""
    return ENDS.sub(" ", raw) if "\n" in raw or "\r" in raw else raw


def check_number(text: str) -> bytes:
    """The number as written; NumberError where a double cannot hold it at all.

    As bytes it is not taken for a text, and nothing that the garbage collector would follow.
    """
    number = float(text)
    if math.isinf(number) or (number == 0 and text.lower().partition("e")[0].strip("-0.")):
        raise NumberError(f"{text[:40]} is too large for a number")
    return text.encode()


def check_integer(text: str) -> bytes:
    """The same for an integer: a double holds any that is not very long."""
    return text.encode() if len(text) < SAFE_DIGITS else check_number(text)


def refuse_constant(text: str) -> NoReturn:
    """NaN and its like are no JSON."""
    raise NumberError(f"{text} is not a JSON number")


SCAN = json.JSONDecoder(
    parse_float=check_number, parse_int=check_integer, parse_constant=refuse_constant, strict=True
).raw_decode
