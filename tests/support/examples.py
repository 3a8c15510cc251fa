"""How many examples Hypothesis tries: some for each change, many by night."""

from __future__ import annotations

import os

from hypothesis import settings

EACH_CHANGE = 50
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
# No deadline: how long an example takes depends on what else the machine does.
settings.register_profile("ci", max_examples=EACH_CHANGE, deadline=None)
settings.register_profile("nightly", max_examples=100, deadline=None)


def examples(nightly: int, ci: int = EACH_CHANGE) -> int:
    """How many examples a test of more or less than the usual number tries."""
    return nightly if PROFILE == "nightly" else min(nightly, ci)
