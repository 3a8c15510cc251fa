"""How much is tried: some for each change, all of it by night."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

EACH_CHANGE = 50
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
# No deadline: how long an example takes depends on what else the machine does.
settings.register_profile("ci", max_examples=EACH_CHANGE, deadline=None)
settings.register_profile("nightly", max_examples=100, deadline=None)


def examples(nightly: int, ci: int = EACH_CHANGE) -> int:
    """How many examples a test of more or less than the usual number tries."""
    return nightly if PROFILE == "nightly" else min(nightly, ci)


def sample(cases: Iterable[Any], each: int = 3) -> list[Any]:
    """Cases of one kind for `parametrize`: each change tries the first of every three, and the others are `slow`."""
    each_as_values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*values, marks=[pytest.mark.slow] if number % each else [])
        for number, values in enumerate(each_as_values)
    ]
