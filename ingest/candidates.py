"""The types that a sample's column may turn out to have, each judged as the contract's type will be."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from open_data_contract_standard.model import SchemaProperty

from catalog.build_property import build_property
from catalog.document import Document, Findings
from catalog.types import PropertyType
from ingest.clean import quote_text

DATE_FORMATS = (
    *("yyyy/MM/dd", "dd.MM.yyyy", "d.M.yyyy", "dd/MM/yyyy", "d/M/yyyy", "MM/dd/yyyy", "M/d/yyyy"),
    *("dd-MM-yyyy", "MM-dd-yyyy", "MMM dd yyyy", "MMM d yyyy", "dd MMM yyyy", "d MMM yyyy", "dd-MMM-yyyy"),
    *("MMM d, yyyy", "MMMM d, yyyy", "d MMMM yyyy"),
)
CLOCK_FORMATS = ("HH:mm", "HH:mm:ss", "H:mm", "h:mm a", "hh:mm:ss a")


@dataclass(frozen=True)
class Candidate:
    """One type that a column may have: as a contract writes it, and as records are judged by it."""

    logical: str
    kind: PropertyType
    physical: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    unlike: str | None = None  # a text that fits and yet means something else, as a regular expression

    def value(self, text: str) -> str:
        """SQL for the value of a text; null where it is none."""
        value = self.kind.value_of(text)
        if self.unlike is None:
            return value
        return f"CASE WHEN NOT regexp_full_match({text}, {quote_text(self.unlike)}) THEN {value} END"


def offer(logical: str, physical: str | None = None, unlike: str | None = None, **options: Any) -> list[Candidate]:
    """A type as a contract would have it; none where it would not be applied."""
    findings = Findings(Document(Path(), "", {}, {}))
    part = SchemaProperty(
        name="value", logicalType=logical, physicalType=physical, logicalTypeOptions=options or None
    )
    built = build_property(part, (), {}, findings)
    if built is None or findings.found:
        return []
    return [Candidate(logical, built.type, physical, options, unlike)]


@cache
def list_candidates() -> list[Candidate]:
    """The types in the order in which they are tried."""
    zeros = r"[+-]?0[0-9].*|\+.*"
    return [
        *offer("boolean", unlike="[01]"),
        *offer("integer", unlike=zeros),
        *offer("integer", "bigint", unlike=zeros),
        # More digits than a number keeps are an identifier.
        *offer("number", unlike=zeros + "|-?[0-9]{16,}"),
        *offer("date"),
        *offer("timestamp", timezone=False),
        *offer("timestamp"),
        *offer("time"),
        *offer("string", "uuid"),
        *(candidate for form in DATE_FORMATS for candidate in offer("date", format=form)),
        *(
            candidate
            for form, clock in itertools.product(DATE_FORMATS[:9], CLOCK_FORMATS)
            for candidate in offer("timestamp", format=f"{form} {clock}", timezone=False)
        ),
    ]


TEXT = offer("string")[0]


def choose(matching: list[Candidate]) -> tuple[Candidate, str | None]:
    """The first of the types that fit; text where a day and a month cannot be told apart."""
    if not matching:
        return TEXT, None
    form = matching[0].options.get("format", "")
    swapped = form.translate(str.maketrans("dM", "Md")) if form[:1] in {"d", "M"} and "MMM" not in form else None
    other = next((c for c in matching if swapped and c.options.get("format") == swapped), None)
    if other is not None:
        return TEXT, f"every value fits {form} and {swapped}: choose the one that is meant as a date's format"
    return matching[0], None


def show_example(candidate: Candidate, value: str, text: str) -> Any:
    """An example as JSON would show it."""
    if candidate.logical == "integer":
        return text if candidate.kind.json_as_text else int(text)
    if candidate.logical == "number":
        return float(text)
    if candidate.logical == "boolean":
        return text.lower() == "true"
    if "format" in candidate.options:
        return value.replace(" ", "T")
    return text
