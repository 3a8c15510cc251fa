"""${VARIABLES} of a contract, filled in at the moment of reading, and kept out of everything that is said."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from catalog.build_form import VARIABLE
from catalog.permits import Permits
from catalog.setting_values import DATA_VARIABLE
from ingest.errors import SourceError

HIDDEN = "***"
SHORTEST_HIDDEN = 4  # characters; what is shorter gives nothing away, and hiding it would garble every message


class Filler:
    """Fills variables in, and remembers what it filled in, to hide it."""

    def __init__(self, permits: Permits) -> None:
        self.permits = permits
        self.filled: set[str] = set()

    def fill(self, text: str, change: Callable[[str], str] = str) -> str:
        """The text with its variables' values, each changed first; SourceError where one is closed, or not set."""

        def find(match: re.Match[str]) -> str:
            if match[1] == DATA_VARIABLE:
                return change(str(self.permits.settings.data_folder))
            if problem := self.permits.refuse_variable(match[1]):
                raise SourceError(f"{problem[0].upper()}{problem[1:]}.")
            value = os.environ.get(match[1], "").strip()
            if not value:
                raise SourceError(f"The environment variable {match[1]} is not set.")
            self.filled.update(spell(value))
            return change(value)

        return VARIABLE.sub(find, text)

    def hide(self, text: str) -> str:
        """The text without any value that was filled in: others may repeat what they were sent."""
        for value in sorted(self.filled, key=len, reverse=True):
            if len(value) >= SHORTEST_HIDDEN:
                text = re.sub(re.escape(value), HIDDEN, text, flags=re.IGNORECASE)
        return text


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
