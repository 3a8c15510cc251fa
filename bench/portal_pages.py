"""The pages of the portal that are measured, each with its limits."""

from __future__ import annotations

from typing import NamedTuple

BASE = "/browse/nyc-flights/v1"
FLIGHTS = f"{BASE}/flights"
SUMMER = "flight_date[gte]=2013-06-01&flight_date[lt]=2013-09-01"
PAGE_BYTES, EXPLORER_BYTES = 15_000, 25_000


class Limits(NamedTuple):
    """What is promised of a page: milliseconds (p95), and bytes as it is sent."""

    ms: float
    packed_bytes: int = PAGE_BYTES


CATALOGUE, DATASET, CONSOLE = Limits(50), Limits(80), Limits(120)
EXPLORER, COUNTED = Limits(120, EXPLORER_BYTES), Limits(300, EXPLORER_BYTES)
# A report asks a dozen questions over all records; a kept one is a page like others.
REPORT = Limits(1500)
FIRST_VIEW = Limits(3000)  # of a report, its renderer not started
FORM = Limits(120)


class Measured(NamedTuple):
    """One page: what it is called, its address, and its limits. `{withheld}` stands for a withheld load."""

    name: str
    path: str
    limits: Limits


OPEN_PAGES = (
    Measured("catalogue", "/", CATALOGUE),
    Measured("search", "/browse?q=delay", CATALOGUE),
    Measured("product", BASE, DATASET),
    Measured("contract", f"{BASE}/contract", DATASET),
    Measured("dataset", FLIGHTS, DATASET),
    Measured("property", f"{FLIGHTS}/properties/departure_delay", DATASET),
    Measured("explorer, records", f"{FLIGHTS}/explore?carrier=UA", EXPLORER),
    Measured("explorer, chart", f"{FLIGHTS}/explore?{SUMMER}&group_by=carrier&measure=avg:departure_delay", EXPLORER),
    Measured(
        "explorer, multiples",
        f"{FLIGHTS}/explore?{SUMMER}&group_by=day(flight_date),origin&limit=1000&view=multiples",
        EXPLORER,
    ),
    Measured("counted values", f"{FLIGHTS}/explore/facets/origin?carrier=UA", COUNTED),
    Measured("record", f"{FLIGHTS}/records/2013-01-01-UA1545-EWR-0515", DATASET),
    Measured("comparison", f"{FLIGHTS}/diff", DATASET),
    Measured("revisions", f"{FLIGHTS}/revisions", DATASET),
    Measured("reports", "/reports", CATALOGUE),
    Measured("report, delays", "/reports/delays-in-new-york", REPORT),
    Measured("report, state", "/reports/state-of-the-data", REPORT),
    Measured("sign-in", "/sign-in", CATALOGUE),
)
OWNER_PAGES = (
    Measured("account", "/account", DATASET),
    Measured("keys", "/account/keys", DATASET),
    Measured("revocation of a key", "/account/keys/{key}/revoke", DATASET),
    Measured("webhooks", "/account/webhooks", DATASET),
    Measured("webhook", "/account/webhooks/{webhook}", DATASET),
    Measured("console", "/console", CONSOLE),
    Measured("loads", "/console/loads", CONSOLE),
    Measured("load", "/console/loads/1", CONSOLE),
    Measured("withheld load", "/console/withheld/{withheld}", CONSOLE),
    Measured("rejected records", "/console/rejects", CONSOLE),
    Measured("schedules", "/console/schedules", CONSOLE),
    Measured("usage", "/console/usage", CONSOLE),
    Measured("audit log", "/console/audit", CONSOLE),
    Measured("report, state (owner)", "/reports/state-of-the-data", REPORT),
)
SIGN_IN = Measured("sign-in, form sent", "/sign-in", FORM)
FIRST = Measured("report, first view", "/reports/delays-in-new-york", FIRST_VIEW)
