"""The secret that signs cursors and hashes keys, as the settings have it or made once."""

from __future__ import annotations

import hashlib
import os
import secrets

from runtime.settings.checks import SECRET_BYTES
from runtime.settings.settings import Settings


def read_secret(settings: Settings) -> bytes:
    """The secret that signs cursors and hashes keys; made on first use where none is set."""
    if settings.secret is not None:
        return hashlib.sha256(settings.secret.get_secret_value().encode()).digest()
    path = settings.home / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written beside and linked into place: of two processes that start at once, one wins, whole.
        draft = path.with_name(f"secret.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(SECRET_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return hashlib.sha256(path.read_bytes()).digest()
