"""Read connections and their fair queue, published heads, the response cache, idempotency keys."""
