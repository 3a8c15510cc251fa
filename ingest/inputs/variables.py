"""Expands ${VARIABLES} of a contract at reading time, and redacts their values from all messages."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from urllib.parse import quote, quote_plus

from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE
from catalog.model.dataset import Dataset
from catalog.model.sources import HttpSource
from ingest.errors import SourceError
from runtime.settings.settings import Settings
from runtime.settings.values import DATA_VARIABLE

HIDDEN = "***"
SHORTEST_HIDDEN = 4  # characters; what is shorter gives nothing away, and hiding it would garble every message
BEGINNING = 16  # characters of a longer value that are hidden too: messages shorten what they show


class VariableExpander:
    """Fills variables in, and remembers what it filled in, to hide it."""

    def __init__(self, permits: Permits) -> None:
        self.permits = permits
        self.filled: set[str] = set()

    def expand(self, text: str, change: Callable[[str], str] = str) -> str:
        """The text with its variables' values, each changed first; SourceError where one is closed, or not set."""

        def find(match: re.Match[str]) -> str:
            if match[1] == DATA_VARIABLE:
                return change(str(self.permits.settings.data_folder))
            return change(self.read(match[1]))

        return VARIABLE.sub(find, text)

    def read(self, name: str) -> str:
        """A variable's value, which is hidden from now on; SourceError where it is closed, or not set."""
        if problem := self.permits.refuse_variable(name):
            raise SourceError(f"{problem[0].upper()}{problem[1:]}.")
        value = os.environ.get(name, "").strip()
        if not value:
            raise SourceError(f"The environment variable {name} is not set.")
        self.filled.update(spell(value))
        return value

    def hide(self, text: str) -> str:
        """The text without any value that was filled in: others may repeat what they were sent."""
        for value in sorted(self.filled, key=len, reverse=True):
            if len(value) >= SHORTEST_HIDDEN:
                text = re.sub(re.escape(value), HIDDEN, text, flags=re.IGNORECASE)
            if len(value) > BEGINNING:
                text = hide_beginning(text, value)
        return text


def make_secret_expander(dataset: Dataset, settings: Settings) -> VariableExpander:
    """A filler that hides every variable which an API of the dataset is sent, for every reader of its answers.

    Databases are not sent theirs as data: a user's name would be hidden in the names of columns.
    """
    expander = VariableExpander(Permits(settings, dataset.product))
    source = dataset.input.source if dataset.input else None
    for text in source.filled if isinstance(source, HttpSource) else ():
        for name in VARIABLE.findall(text or ""):
            if name != DATA_VARIABLE:
                with suppress(SourceError):  # then it was sent nowhere
                    expander.read(name)
    return expander


def hide_beginning(text: str, value: str) -> str:
    """The text without a value's beginning, as much of it as is there."""
    begin = re.compile(re.escape(value[:BEGINNING]), re.IGNORECASE)
    shown, end = "", 0
    for match in begin.finditer(text):
        rest = zip(text[match.end() :], value[BEGINNING:], strict=False)
        length = sum(1 for _ in takewhile(lambda pair: pair[0].lower() == pair[1].lower(), rest))
        shown += text[end : match.start()] + HIDDEN
        end = match.end() + length
    return shown + text[end:]


def spell(value: str) -> set[str]:
    """The value as others may write it: in an address, in a form, in JSON, in base64."""
    packed = base64.b64encode(value.encode()).decode()
    return {
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        packed.rstrip("="),
        packed.rstrip("=").replace("+", "-").replace("/", "_"),
    }
