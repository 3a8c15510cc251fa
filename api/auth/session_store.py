"""The statements about sessions, and why a session is over."""

from __future__ import annotations

from datetime import timedelta

LONGEST = timedelta(hours=24)
OPEN_AT_ONCE = 50  # of one client; where there are more, those that were not used for the longest time end
KEPT_AT_ONCE = 100  # of one client, with those that are over
MESSAGES = {
    "idle": "Your session ended after 8 hours without a request.",
    "age": "Your session came to its end.",
    "unknown": "Your session came to its end, and its issuer did not let you in again without asking you: sign in.",
    "credential": "Your session ended: its key or its issuer no longer counts.",
    "signed_out": "You have signed out.",
    "others": "Your session was ended from another session of the same account.",
    "crowded": f"Your session was ended, because this account opened more than {OPEN_AT_ONCE} sessions:"
    " the one that was unused for the longest time ends. Give each person a key of their own.",
}

# The time of the last request is written once a minute, and a session ends 8 hours after it.
FIND = """
WITH found AS (
  SELECT *, CASE WHEN ended IS NOT NULL THEN ended WHEN seen_at <= now() - interval '8 hours' THEN 'idle'
    WHEN expires_at <= now() THEN 'age' END AS why
  FROM decant.sessions WHERE token_sha256 = %s
), seen AS (
  UPDATE decant.sessions AS s SET seen_at = now() FROM found
  WHERE s.token_sha256 = found.token_sha256 AND found.why IS NULL AND found.seen_at < now() - interval '1 minute'
)
SELECT key_id, claims, created_at, expires_at, visited_at, shown_at, why FROM found
"""
IS_OPEN = "expires_at > now() AND seen_at > now() - interval '8 hours'"
# Ended sessions are kept a month for the time of the last visit.
OPEN = f"""
WITH old AS (
  DELETE FROM decant.sessions
  WHERE expires_at < now() - interval '30 days' OR expires_at <= now() AND token_sha256 IN (
    SELECT token_sha256 FROM decant.sessions WHERE client = %(client)s
    ORDER BY expires_at > now() DESC, seen_at DESC OFFSET {KEPT_AT_ONCE})
), crowded AS (
  UPDATE decant.sessions SET expires_at = now(), ended = 'crowded'
  WHERE token_sha256 IN (
    SELECT token_sha256 FROM decant.sessions WHERE client = %(client)s AND {IS_OPEN}
    ORDER BY seen_at DESC, created_at DESC OFFSET {OPEN_AT_ONCE - 1})
)
INSERT INTO decant.sessions (token_sha256, client, key_id, claims, shown_at, expires_at, visited_at)
SELECT %(token_sha256)s, %(client)s, %(key_id)s, %(claims)s, %(shown_at)s, %(expires_at)s,
  (SELECT max(seen_at) FROM decant.sessions WHERE client = %(client)s)
"""
LIST = f"""
SELECT token_sha256 = %s, created_at, seen_at, expires_at FROM decant.sessions
WHERE client = %s AND {IS_OPEN} ORDER BY created_at DESC
"""
END = """
UPDATE decant.sessions SET expires_at = least(expires_at, now()), ended = %s WHERE token_sha256 = %s AND ended IS NULL
"""
END_OTHERS = f"""
UPDATE decant.sessions SET expires_at = now(), ended = 'others'
WHERE client = %s AND token_sha256 <> %s AND {IS_OPEN} RETURNING token_sha256
"""
MOVE = "UPDATE decant.sessions SET key_id = %s WHERE token_sha256 = %s"
