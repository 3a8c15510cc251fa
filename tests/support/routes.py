"""Every route of a service, and who may ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.lab import PEOPLE

CLOSED = PEOPLE.replace(
    '  - {role: "people:read", access: read, customProperties: [{property: anonymous, value: true}]}\n',
    '  - {role: young, access: read, customProperties: [{property: rows, value: "age < 40"}]}\n'
    '  - {role: old, access: read, customProperties: [{property: rows, value: "age > 900"}]}\n',
)

DATASET = "/data/people/v1/people"


@dataclass(frozen=True)
class Asked:
    """One route as it is asked, and who may."""

    method: str
    path: str
    scopes: tuple[str, ...]  # any credential that holds them all gets 2xx
    limited: bool = True  # whether who sees some records only may ask as well
    accept: str = "*/*"
    body: dict[str, Any] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.accept}"


READ, OPS, WRITE, ADMIN = ("people:read",), ("ops:read",), ("ops:write",), ("keys:admin",)

FORMS = ("application/json", "text/csv", "application/x-ndjson")

ROUTES = [
    *(Asked("GET", f"{DATASET}/records", READ, accept=file_format) for file_format in FORMS),
    Asked("HEAD", f"{DATASET}/records", READ),
    Asked("GET", f"{DATASET}/records/1", READ),
    Asked("GET", f"{DATASET}/records/1/provenance", (*READ, *OPS)),
    Asked("GET", f"{DATASET}/aggregate", READ),
    Asked("GET", f"{DATASET}/changes?since=0", READ),
    Asked("GET", f"{DATASET}/revisions", READ),
    Asked("HEAD", f"{DATASET}/follow", READ),  # a GET does not end
    *(
        Asked("GET", f"{DATASET}/export?format={name}&at=1", READ)
        for name in ("csv", "ndjson", "parquet", "arrow", "xlsx")
    ),
    Asked("GET", f"{DATASET}/sizes", READ),
    Asked("GET", f"{DATASET}/lineage", READ),
    Asked("GET", f"{DATASET}/profile", READ, limited=False),
    Asked("GET", f"{DATASET}/profile/history", READ, limited=False),
    Asked("GET", f"{DATASET}/quality", READ, limited=False),
    Asked("GET", f"{DATASET}/loads", READ, limited=False),
    Asked("GET", DATASET, READ),
    Asked("GET", "/data/people/v1", READ),
    Asked("GET", "/data/people/v1/contract", READ),
    Asked("GET", "/openapi/people/v1.json", READ),
    Asked("GET", "/browse/people/v1", READ),
    Asked("GET", "/browse/people/v1/contract", READ),
    Asked("GET", "/browse/people/v1/people", READ),
    Asked("GET", "/browse/people/v1/people/properties/age", READ),
    Asked("GET", "/browse/people/v1/people/explore", READ),
    Asked("GET", "/browse/people/v1/people/explore/facets/age", READ),
    Asked("GET", "/browse/people/v1/people/records/1", READ),
    Asked("GET", "/browse/people/v1/people/diff", READ),
    Asked("GET", "/browse/people/v1/people/revisions", READ),
    Asked("GET", "/session/data/people/v1/people/records", READ),
    Asked("GET", "/session/data/people/v1/contract", READ),
    Asked("GET", "/session/operations/loads", OPS),
    Asked("GET", "/operations/loads", OPS),
    Asked("GET", "/operations/loads/1", OPS),
    Asked("GET", "/operations/rejects", OPS),
    Asked("GET", "/operations/rejects/reasons", OPS),
    Asked("GET", "/operations/status", OPS),
    Asked("GET", "/operations/schedules", OPS),
    Asked("GET", "/operations/audit", OPS),
    Asked("GET", "/operations/usage", OPS),
    Asked("GET", "/metrics", OPS),
    Asked("POST", "/operations/loads", WRITE, body={"product": "people"}),
    Asked("POST", "/operations/replays", WRITE, body={"product": "people", "dataset": "people"}),
    Asked(
        "POST",
        "/operations/dismissals",
        WRITE,
        body={"product": "people", "dataset": "people", "rule": "type", "note": "is not corrected"},
    ),
    Asked("POST", "/operations/erasures", WRITE, body={"product": "people", "dataset": "people", "key": ["99"]}),
    Asked("GET", "/keys", ADMIN),
    Asked("GET", "/account/keys", ADMIN),
    Asked("GET", "/console", OPS),
    Asked("GET", "/console/loads", OPS),
    Asked("GET", "/console/loads/1", OPS),
    Asked("GET", "/console/rejects", OPS),
    Asked("GET", "/console/schedules", OPS),
    Asked("GET", "/console/usage", OPS),
    Asked("GET", "/console/audit", OPS),
    Asked("POST", "/keys", ADMIN, body={"name": "x", "scopes": ["people:read"]}),
]
