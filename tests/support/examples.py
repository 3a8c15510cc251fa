"""How much is tried: some for each change, all of it by night."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings

EACH_CHANGE = 25
ONE_OF = 5  # shares no factor with the few values of most parameters, so that each of them is among the samples
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
# No deadline: how long an example takes depends on what else the machine does.
settings.register_profile("ci", max_examples=EACH_CHANGE, deadline=None)
settings.register_profile("nightly", max_examples=100, deadline=None)


def examples(nightly: int, ci: int = EACH_CHANGE) -> int:
    """How many examples a test of more or less than the usual number tries."""
    return nightly if PROFILE == "nightly" else min(nightly, ci)


def mark_samples(items: Iterable[pytest.Item]) -> None:
    """Of a test that is `sampled`, each change tries the first of every five cases; the others are `slow`."""
    seen: Counter[tuple[Path, str]] = Counter()
    for item in items:
        if item.get_closest_marker("sampled") is None:
            continue
        function = item.path, item.nodeid.split("[")[0]
        if seen[function] % ONE_OF:
            item.add_marker("slow")
        seen[function] += 1
