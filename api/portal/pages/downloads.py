"""Downloads of a dataset: the formats, and how large each file is as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass

from api.exports.formats import FORMATS
from api.portal.asking import Asking, Reply

FORMAT_NAMES = {"csv": "CSV", "ndjson": "JSON lines", "parquet": "Parquet", "arrow": "Arrow", "xlsx": "Excel"}
UNITS = ("kB", "MB", "GB", "TB")
KILO = 1000


@dataclass(frozen=True)
class Download:
    """One format: its name in addresses, its name for people, and its size in words."""

    name: str
    text: str
    size: str


async def find_sizes(asking: Asking, path: str) -> Reply | None:
    """What the API says of the sizes of a dataset's exports."""
    return await asking.find(f"{path}/sizes")


def downloads_of(sizes: Reply | None, revision: int, *, is_part: bool = False) -> list[Download]:
    """The formats, each with its size where the sizes are of this revision; `is_part`: filters leave some records."""
    known = {}
    if sizes is not None and sizes.value["revision"] == revision and revision:
        known = {each["format"]: each for each in sizes.data}
    downloads = []
    for form in FORMATS:
        found = known.get(form.name)
        size = ""
        if found is not None and found["bytes"] is not None:
            size = write_size(found["bytes"], exact=found["exact"])
            size = f"at most {size}" if is_part else size
        downloads.append(Download(form.name, FORMAT_NAMES.get(form.name, form.name), size))
    return downloads


def write_size(size: int, *, exact: bool) -> str:
    """A number of bytes in words: `12.4 MB`, or `about 12 MB` where it is an estimate."""
    number, unit = float(size), "bytes"
    for larger in UNITS:
        if number < KILO:
            break
        number, unit = number / KILO, larger
    digits = 3 if exact else 2
    if unit == "bytes" and exact:
        return f"{size} {'byte' if size == 1 else 'bytes'}"
    text = f"{float(f'{number:.{digits}g}'):g} {unit}"
    return text if exact else f"about {text}"
