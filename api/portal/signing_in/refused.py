"""A form that was refused: its page is shown again, with what was wrong and what was typed."""

from __future__ import annotations

from dataclasses import dataclass

from api.http.problems import Problem
from api.portal.signing_in.form import Form

REFUSED = "decant.refused"  # where the request for the page keeps it


@dataclass(frozen=True)
class Refused:
    """A form, and why it was refused."""

    problem: Problem
    form: Form
