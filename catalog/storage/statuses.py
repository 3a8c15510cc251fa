"""Status values and steps of loads, and states of rejected records."""

from __future__ import annotations

from collections.abc import Mapping

LOAD_STATUSES = ("queued", "running", "published", "unchanged", "withheld", "failed")
REJECT_STATES = ("open", "replayed", "superseded", "dismissed")
# The steps of a load in their order, and what each is doing.
LOAD_STEPS = {
    "land": "landing",
    "cut": "parsing records",
    "clean": "cleaning and checking",
    "stage": "staging",
    "publish": "publishing",
    "vacuum": "vacuuming",
    "dismiss": "dismissing",
}


def order_steps(seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds of a load's steps in the order of the steps: the ledger keeps none."""
    return {name: seconds[name] for name in dict.fromkeys((*LOAD_STEPS, *seconds)) if name in seconds}
