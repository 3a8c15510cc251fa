"""What is asked of a product while its processes and its contract are upgraded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.deployment import Stack

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: people
    customProperties:
      - {property: input, value: {server: here, path: people.csv, mode: snapshot, watch: true}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string, required: true}
      - {name: age, logicalType: integer, customProperties: [{property: indexed, value: true}]}
  - name: readings
    customProperties:
      - {property: input, value: {events: true}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: value, logicalType: number}
roles:
  - {role: "shop:read", access: read}
  - {role: "shop:write", access: write}
"""
# What the new version adds; the old processes go on with what they know.
EXPANDED = CONTRACT.replace("version: 1.0.0", "version: 1.1.0").replace(
    "      - {name: age,", "      - {name: town, logicalType: string}\n      - {name: age,"
)
PEOPLE = "/data/shop/v1/people"
READINGS = "/data/shop/v1/readings"
NUMBER = 30  # records


def people(turn: int) -> str:
    """The file that is loaded at a turn; the column that the new version adds is there from the beginning."""
    lines = (f"{number},person {number},{20 + (number + turn) % 50},Ulm\n" for number in range(NUMBER))
    return "id,name,age,town\n" + "".join(lines)


def good(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is one."""
    if answer.status_code != httpx.codes.OK:
        raise AssertionError(f"{answer.request.url.path} {answer.status_code} {answer.text[:200]}")
    return answer


def walk(client: httpx.Client, number: int) -> None:
    """All records over pages, each of which may come from another process: of one revision, each once."""
    path, found, revisions = f"{PEOPLE}/records?limit=7&sort=-age", [], set()
    while path:
        page = good(client.get(path)).json()
        found += [record["id"] for record in page["data"]]
        revisions.add(page["revision"])
        path = page.get("next")
        path = path and path[path.index("/data/") :]
    assert sorted(found) == list(range(NUMBER)), found
    assert len(revisions) == 1


def ask_again(client: httpx.Client, number: int) -> None:
    """A record, and again with its tag: another process may have another one, but never a wrong 304."""
    first = good(client.get(f"{PEOPLE}/records/{number % NUMBER}"))
    again = client.get(f"{PEOPLE}/records/{number % NUMBER}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code in {200, 304}, again.text
    seen = {"Decant-Min-Revision": str(first.json()["revision"])}
    assert good(client.get(f"{PEOPLE}/records", headers=seen)).json()["revision"] >= first.json()["revision"]


def keep_in_step(client: httpx.Client, number: int) -> None:
    """Changes since the first revision."""
    changes = good(client.get(f"{PEOPLE}/changes?since=0&limit=1000")).json()
    assert len(changes["data"]) >= NUMBER


def export(client: httpx.Client, number: int) -> None:
    """A whole dataset, by way of the address of its revision."""
    moved = client.get(f"{PEOPLE}/export?format={'csv' if number % 2 else 'parquet'}")
    assert moved.status_code == httpx.codes.TEMPORARY_REDIRECT, moved.text
    place = moved.headers["location"]
    assert good(client.get(place[place.index("/data/") :])).content


def look_around(client: httpx.Client, number: int) -> None:
    """The catalogue, aggregates, the contract, and the document for machines."""
    paths = ("/data", PEOPLE, f"{PEOPLE}/aggregate?measure=count,max:age", f"{PEOPLE}/quality", "/openapi.json")
    good(client.get(paths[number % len(paths)]))


ASKING: dict[str, Callable[[httpx.Client, int], None]] = {
    "walk": walk,
    "tag": ask_again,
    "changes": keep_in_step,
    "export": export,
    "look": look_around,
}


def make_key(stack: Stack, code: Path) -> dict[str, str]:
    """The header of a key for all that the product offers, made by some version's code."""
    scopes = [word for scope in ("shop:read", "shop:write") for word in ("--scope", scope)]
    key = json.loads(stack.run("api-1", "keys", "create", "callers", *scopes, "--json", code=code))["key"]
    return {"Authorization": f"Bearer {key}"}
