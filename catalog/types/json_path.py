"""The JSON paths that say where in a document the records are. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

STEP = re.compile(r"""\.(?P<name>[^.\[\]*'"\s]+)|\[\s*(?P<quote>['"])(?P<quoted>.+?)(?P=quote)\s*\]""")
RECORDS_PATHS = "$, $[*], $.name[*] or $.name.name[*]; a name with odd characters as $['odd name'][*]"


@dataclass(frozen=True)
class RecordsPath:
    """The keys that lead to the records, and whether each item of what lies there is one (`[*]`)."""

    keys: tuple[str, ...]
    items: bool


def parse_records_path(text: str) -> RecordsPath:
    """The path; ValueError says which ones are understood."""
    text = text.strip()
    rest = text.removeprefix("$")
    items = rest.endswith("[*]")
    rest = rest.removesuffix("[*]")
    keys: list[str] = []
    path = 0
    while text.startswith("$") and (step := STEP.match(rest, path)):
        keys.append(step["name"] or step["quoted"])
        path = step.end()
    if not text.startswith("$") or path != len(rest):
        raise ValueError(f"{text!r} is not a path to records; supported are {RECORDS_PATHS}")
    return RecordsPath(tuple(keys), items)
