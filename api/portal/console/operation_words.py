"""What the entries of the audit log say that somebody did, in words. Pure."""

from __future__ import annotations

import re

# The operations that the audit log has: requests of the API, commands, and what Decant does by itself.
OPERATION_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"POST /operations/loads", "asked for a load"),
        (r"POST /operations/loads/[0-9]+/publish|publish anyway", "published a withheld load anyway"),
        (r"POST /operations/replays|replay", "replayed rejected records"),
        (r"POST /operations/dismissals", "asked to dismiss rejected records"),
        (r"dismiss", "dismissed rejected records"),
        (r"POST /operations/erasures", "asked to erase a key of a dataset"),
        (r"erase", "erased a key of a dataset"),
        (r"POST /keys|keys create", "made an API key"),
        (r"POST /keys/rotate|keys rotate", "rotated an API key"),
        (r"DELETE /keys|keys revoke", "revoked an API key"),
        (r"POST /subscriptions", "made a webhook"),
        (r"PATCH /subscriptions", "changed a webhook"),
        (r"POST /subscriptions/rotate", "rotated the secret of a webhook"),
        (r"POST /subscriptions/replays", "had a webhook sent events again"),
        (r"DELETE /subscriptions", "deleted a webhook"),
        (r"subscription disabled", "disabled a webhook that failed for long"),
        (r"seek", "moved the position in a stream"),
        (r"replication create", "began to replicate a table"),
        (r"replication drop", "ended the replication of a table"),
        (r"new epoch", "began a new epoch"),
    )
)


def describe_operation(operation: str) -> str:
    """What was done, in words; of an operation that is not known, nothing."""
    return next((words for pattern, words in OPERATION_WORDS if pattern.fullmatch(operation)), "")
