"""Secrets of webhooks: derived from the installation's secret and a nonce, and kept nowhere.

The database has the nonce and a check value, from which nobody makes the secret without DECANT_SECRET. A secret that
is replaced signs beside the new one for a day, so that receivers can change over.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from runtime.errors import CatalogError

PREFIX = "whsec_"  # as Standard Webhooks writes secrets
NONCE_BYTES = 32
CHECK_BYTES = 8
OVERLAP = timedelta(hours=24)


class SecretLostError(CatalogError):
    """The installation's secret is not the one that a webhook's secret was made with."""


def derive_secret(installation: bytes, subscription_id: str, nonce: str) -> bytes:
    """The secret of a subscription that belongs to a nonce."""
    return hmac.digest(installation, f"webhook 1:{subscription_id}:{nonce}".encode(), "sha256")


def check_of(secret: bytes) -> str:
    """What tells whether a derived secret is the one that was shown, and nothing else of it."""
    return hashlib.sha256(b"webhook check:" + secret).digest()[:CHECK_BYTES].hex()


def add_secret(
    installation: bytes, subscription_id: str, kept: Sequence[dict[str, Any]], now: datetime
) -> tuple[str, list[dict[str, Any]]]:
    """The text of a new secret, which is shown this once, and what is kept; the one before signs for another day."""
    nonce = secrets.token_hex(NONCE_BYTES)
    secret = derive_secret(installation, subscription_id, nonce)
    entry = {"nonce": nonce, "check": check_of(secret)}
    before = [{**old, "until": (now + OVERLAP).isoformat()} for old in kept[:1]]
    return show_secret(secret), [entry, *before]


def show_secret(secret: bytes) -> str:
    """A secret as its owner gets it."""
    return PREFIX + base64.b64encode(secret).decode()


def read_secrets(
    installation: bytes, subscription_id: str, kept: Sequence[dict[str, Any]], now: datetime
) -> list[bytes]:
    """The secrets that sign now, the newest first; SecretLostError where the installation has another secret."""
    valid = [entry for entry in kept if "until" not in entry or datetime.fromisoformat(entry["until"]) > now]
    found = [(entry, derive_secret(installation, subscription_id, entry["nonce"])) for entry in valid]
    if any(not hmac.compare_digest(check_of(secret), entry["check"]) for entry, secret in found[:1]):
        raise SecretLostError(
            "DECANT_SECRET of this worker is not the one that the webhook's secret was made with: rotate the secret,"
            " or give worker and service the same DECANT_SECRET"
        )
    return [secret for entry, secret in found if hmac.compare_digest(check_of(secret), entry["check"])]
