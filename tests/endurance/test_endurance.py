"""A small share of what `python -m tests.endurance` does at length."""

from __future__ import annotations

from collections.abc import Callable

from tests.endurance.crash import FIRST_POINTS, POINTS, run_kills
from tests.endurance.testbed import CONTRACT, prepare
from tests.support.lab import Lab


def test_loads_killed_at_every_step_lose_and_double_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CONTRACT)
    prepare(lab)
    kills = run_kills(lab, 19, seed=1, first=FIRST_POINTS[0], say=lambda line: None)
    assert len(set(kills) & set(POINTS)) == 13, kills
