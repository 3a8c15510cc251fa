"""A product whose records are pushed, and what its tests ask of it."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support import keys
from tests.support.lab import Lab

SENSORS = """
apiVersion: v3.1.0
kind: DataContract
id: sensors
name: Sensors
version: 1.0.0
status: active
schema:
  - name: readings
    customProperties:
      - {property: input, value: {events: true, mode: upsert}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true}
      - {name: value, logicalType: number, physicalType: "numeric(30,10)"}
      - {name: note, logicalType: string, logicalTypeOptions: {maxLength: 20}}
  - name: plain
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true}
roles:
  - {role: "sensors:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
READINGS = "sensors.readings"
EVENTS = "/data/sensors/v1/readings/events"
TABLE = "sensors_v1.readings"


def make_key(lab: Lab, *scopes: str) -> dict[str, str]:
    """The headers that a new key with these scopes is sent in."""
    key = keys.make_key(lab, *(scopes or ("sensors:write",)))
    return {"Authorization": f"Bearer {key}"}


def push(client: httpx.Client, headers: dict[str, str], records: Any, **more: str) -> dict[str, Any]:
    """The receipt of some records."""
    answer = client.post(EVENTS, json=records, headers=headers | more)
    assert answer.status_code == 202, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def outcomes(client: httpx.Client, headers: dict[str, str], receipt: dict[str, Any]) -> list[str]:
    """What became of the records of a push."""
    answer = client.get(receipt["status_url"], headers=headers, params={"limit": 1000})
    assert answer.status_code == 200, answer.text
    return [event["outcome"] for event in answer.json()["data"]["events"]]
