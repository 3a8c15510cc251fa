"""The channels to people whose last message was not taken."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Product

SEEN = timedelta(days=7)
LAST_TRIED = sa.text("""
SELECT channel, error, coalesce(failing_since, tried_at) AS since FROM (
  SELECT DISTINCT ON (channel) * FROM decant.incident_messages
  WHERE channel = ANY(:channels) AND tried_at > :since AND lease IS NULL ORDER BY channel, tried_at DESC, id DESC
) AS last WHERE error IS NOT NULL ORDER BY channel
""")


def find_failing(connection: sa.Connection, product: Product, now: datetime) -> list[dict[str, Any]]:
    """Each channel of a product that fails: PRODUCT@MAJOR/NAME, why, and since when."""
    channels = [channel.key for channel in product.channels]
    if not channels:
        return []
    rows = connection.execute(LAST_TRIED, {"channels": channels, "since": now - SEEN})
    return [dict(row) for row in rows.mappings()]
