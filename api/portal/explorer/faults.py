"""What is wrong with a measure, in the words of the explorer's form. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from api.datasets.aggregates_parameters import MEASURES, NUMERIC_MEASURES, ORDERED_MEASURES
from api.http.problems import Problem
from api.portal.explorer.question import Exploration

MEASURE = "measure"


@dataclass(frozen=True)
class Fault:
    """A measure that cannot be answered: the form shows it again, and says why beside its property."""

    function: str
    of: str  # the property that was chosen; empty: none
    text: str

    @property
    def member(self) -> str:
        """The measure as it stands in the address."""
        return f"{self.function}:{self.of}" if self.of else self.function


def find_fault(question: Exploration, problem: Problem | None) -> Fault | None:
    """The measure that a problem is about; None where it is about something else."""
    errors = [error for error in (problem.errors or [] if problem else []) if error.get("parameter") == MEASURE]
    said = " ".join(str(error.get("message")) for error in errors)
    for function, _, of in (member.partition(":") for member in question.values(MEASURE) if errors):
        if function not in MEASURES:
            continue
        if not of and function != "count":
            text = f"The measure {function} needs a property: choose {kind_of(function)} under “of”."
            return Fault(function, "", text)
        if of and f"{function} is not available for {of}" in said:
            text = f"The measure {function} does not fit {of}: choose {kind_of(function)} under “of”."
            return Fault(function, of, text)
    return None


def kind_of(function: str) -> str:
    """Which properties a measure fits, in words."""
    if function in NUMERIC_MEASURES:
        return "one that holds numbers"
    return "one whose values have an order" if function in ORDERED_MEASURES else "one"
