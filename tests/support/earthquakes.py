"""The feed of earthquakes that a shipped contract reads: its address, and events as it tells them."""

from __future__ import annotations

from typing import Any

FEED = "https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_week.geojson"


def make_event(name: str, magnitude: float | None, **facts: Any) -> dict[str, Any]:
    """One event as the feed tells it."""
    told = {"mag": magnitude, "place": "somewhere", "time": 1_700_000_000_000, "updated": 1_700_000_100_000,
            "url": f"https://example.org/{name}", "felt": None, "status": "automatic", "tsunami": 0, "sig": 10,
            "net": "ci", "code": name, "ids": f",{name},", "sources": ",ci,", "types": ",origin,",
            "title": f"M {magnitude}", "nst": 7, "dmin": 0.04, "rms": 0.3, "gap": 174, "magType": "ml",
            "type": "earthquake"} | facts  # fmt: skip
    place = {"type": "Point", "coordinates": [-118.5, 34.25, 7.5]}
    return {"type": "Feature", "properties": told, "geometry": place, "id": name}
