"""Read connections and their turns, published heads, kept answers, idempotency keys."""
