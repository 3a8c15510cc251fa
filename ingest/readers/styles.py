"""Classifies cells of a workbook as dates, timestamps, times or durations by their number format."""

from __future__ import annotations

import re
import zipfile
from xml.etree import ElementTree

from ingest.errors import SourceTooLargeError

STYLES = "xl/styles.xml"
STYLES_LIMIT_BYTES = 16 << 20
DAY, TIMESTAMP, TIME, DURATION = 1, 2, 3, 4
# The formats that every workbook knows by number alone.
BUILT_IN = {
    **dict.fromkeys((14, 15, 16, 17), DAY),
    **dict.fromkeys((18, 19, 20, 21, 45, 47), TIME),
    22: TIMESTAMP,
    46: DURATION,
}
# What holds no letters of a format: texts, escaped characters, fillers, brackets with a colour or a condition.
ASIDE = re.compile(r'"[^"]*"|\\.|[_*].|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)


def read_styles(archive: zipfile.ZipFile) -> list[int]:
    """What each cell style of the workbook shows: DAY, MOMENT, TIME or DURATION; 0 for all else."""
    if STYLES not in archive.namelist():
        return []
    if archive.getinfo(STYLES).file_size > STYLES_LIMIT_BYTES:
        raise SourceTooLargeError()
    own: dict[str, int] = {}
    kinds: list[int] = []
    for element in ElementTree.fromstring(archive.read(STYLES)):  # noqa: S314 - expat refuses entities that multiply
        name = element.tag.rpartition("}")[2]
        if name == "numFmts":
            own = {str(part.get("numFmtId")): kind_of(str(part.get("formatCode", ""))) for part in element}
        elif name == "cellXfs":
            numbers = [str(part.get("numFmtId", "0")) for part in element]
            kinds = [own[n] if n in own else BUILT_IN.get(int(n) if n.isdigit() else 0, 0) for n in numbers]
    return kinds


def kind_of(code: str) -> int:
    """What a format code shows."""
    if code.lower() in {"general", "@"}:
        return 0
    letters = ASIDE.sub("", code.split(";", 1)[0]).lower()
    if ELAPSED.search(letters):
        return DURATION
    letters = letters.replace("am/pm", "h").replace("a/p", "h").replace("general", "")
    clock = "h" in letters or "s" in letters
    day = "d" in letters or "y" in letters
    if not day and not clock:
        return DAY if "m" in letters else 0
    return (TIMESTAMP if day else TIME) if clock else DAY
