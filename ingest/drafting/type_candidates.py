"""The types that a sample's column may turn out to have, each checked as the contract's type will be."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from open_data_contract_standard.model import SchemaProperty

from catalog.contract.property import build_property
from catalog.document.findings import Findings
from catalog.document.yaml_document import Document
from catalog.types.property_types import PropertyType
from ingest.cleaning.plan import quote_text

DATE_FORMATS = (
    *("yyyy/MM/dd", "dd.MM.yyyy", "d.M.yyyy", "dd/MM/yyyy", "d/M/yyyy", "MM/dd/yyyy", "M/d/yyyy"),
    *("dd-MM-yyyy", "MM-dd-yyyy", "MMM dd yyyy", "MMM d yyyy", "dd MMM yyyy", "d MMM yyyy", "dd-MMM-yyyy"),
    *("MMM d, yyyy", "MMMM d, yyyy", "d MMMM yyyy"),
)
FLOAT_DIGITS = 17  # more of them no floating-point number gives back
FIXED_SCALE = 4  # coordinates have more decimals, prices do not
NUMERIC_PRECISIONS = (18, 38)  # with room for larger numbers than the sample's
MARKS = {"digit": "[0-9]", "/": "/", ".": "[.]", "-": "-", ":": ":"}  # what texts of a type hold; regular expressions
WITH_DIGITS = frozenset({"integer", "number", "date", "timestamp", "time"})
CLOCK_FORMATS = ("HH:mm", "HH:mm:ss", "H:mm", "h:mm a", "hh:mm:ss a")


@dataclass(frozen=True)
class Candidate:
    """One type that a column may have: as a contract writes it, and as records are checked by it."""

    logical: str
    kind: PropertyType
    physical: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    unlike: str | None = None  # a text that fits and yet means something else, as a regular expression
    barred: str | None = None  # one that is no outlier: where it does not fit, the type is another

    @property
    def marks(self) -> frozenset[str]:
        """The marks that every text of the type holds: to look for them costs less than to read it as the type."""
        written = {mark for mark in MARKS if mark in self.options.get("format", "")}
        return frozenset(written | ({"digit"} if self.logical in WITH_DIGITS else set()))

    def value(self, text: str) -> str:
        """SQL for the value of a text; null where it is none."""
        value = self.kind.value_of(text)
        if self.unlike is None:
            return value
        return f"CASE WHEN NOT regexp_full_match({text}, {quote_text(self.unlike)}) THEN {value} END"


def offer(
    logical: str, physical: str | None = None, unlike: str | None = None, barred: str | None = None, **options: Any
) -> list[Candidate]:
    """A type as a contract would have it; none where it would not be applied."""
    findings = Findings(Document(Path(), "", {}, {}))
    part = SchemaProperty(
        name="value", logicalType=logical, physicalType=physical, logicalTypeOptions=options or None
    )
    built = build_property(part, (), {}, findings)
    if built is None or findings.found:
        return []
    return [Candidate(logical, built.type, physical, options, unlike, barred)]


@cache
def list_candidates() -> list[Candidate]:
    """The types in the order in which they are tried."""
    zeros = r"[+-]?0[0-9].*|\+.*"
    digits = r"[+-]?[0-9.]+"
    return [
        *offer("boolean", unlike="[01]", barred="[01]"),
        *offer("integer", unlike=zeros, barred=digits),
        *offer("integer", "bigint", unlike=zeros, barred=digits),
        # More digits than a number keeps are an identifier.
        *offer("number", unlike=zeros + "|-?[0-9]{16,}", barred=digits),
        *offer("date"),
        *offer("timestamp", timezone=False),
        *offer("timestamp"),
        *offer("time"),
        *offer("string", "uuid"),
        *(candidate for file_format in DATE_FORMATS for candidate in offer("date", format=file_format)),
        *(
            candidate
            for file_format, clock in itertools.product(DATE_FORMATS[:9], CLOCK_FORMATS)
            for candidate in offer("timestamp", format=f"{file_format} {clock}", timezone=False)
        ),
    ]


TEXT = offer("string")[0]


def choose(matching: list[Candidate]) -> tuple[Candidate, str | None]:
    """The first of the types that fit; text where a day and a month cannot be distinguished."""
    if not matching:
        return TEXT, None
    file_format = matching[0].options.get("format", "")
    swapped = (
        file_format.translate(str.maketrans("dM", "Md"))
        if file_format[:1] in {"d", "M"} and "MMM" not in file_format
        else None
    )
    other = next((c for c in matching if swapped and c.options.get("format") == swapped), None)
    if other is not None:
        return TEXT, f"every value fits {file_format} and {swapped}: choose the intended one as the date's format"
    return matching[0], None


@dataclass(frozen=True)
class Digits:
    """How the numbers of a column are written."""

    plain: bool  # none has an exponent
    whole: int  # the most digits before the point
    scale: int  # the most after it
    least_scale: int  # the fewest, of those that have a point
    significant: int
    padded: bool  # whether any ends in a zero that a floating-point number would not show


def choose_number(digits: Digits, number: Candidate, *, is_json: bool) -> tuple[Candidate, str | None]:
    """An exact decimal where the digits look meant; else floating point, which keeps what was one before."""
    lost = digits.significant > FLOAT_DIGITS
    fixed = digits.scale <= FIXED_SCALE or digits.scale == digits.least_scale
    # JSON, Parquet and workbooks have numbers of their own, of which each is as short as it can be.
    exact = digits.plain and (lost or (digits.padded if is_json else fixed))
    if not exact:
        return number, "read as floating-point numbers: set a numeric physicalType if all digits matter"
    needed = digits.whole + digits.scale
    for precision in NUMERIC_PRECISIONS:
        if needed <= precision and (found := offer("number", f"numeric({precision},{digits.scale})")):
            return found[0], None
    return (TEXT, "has more digits than a number can hold: left as text") if lost else (number, None)


def show_example(candidate: Candidate, value: str, text: str) -> object:
    """An example as JSON would show it."""
    if candidate.logical == "integer":
        return text if candidate.kind.json_as_text else int(text)
    if candidate.logical == "number":
        return value if candidate.kind.json_as_text else float(text)
    if candidate.logical == "boolean":
        return text.lower() == "true"
    if "format" in candidate.options:
        return value.replace(" ", "T")
    return text
