"""Variants of the product `people`."""

from __future__ import annotations

from tests.support.lab import PEOPLE

GOOD = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,NA,\n"

AGES = """
  - name: ages
    customProperties:
      - property: input
        value: {mode: snapshot, query: "select age, count(*) as people from people where age is not null group by 1"}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: age, logicalType: integer, primaryKey: true}
      - {name: people, logicalType: integer}
  - name: oldest
    customProperties:
      - {property: input, value: {mode: snapshot, query: "select max(age) as age, 1 as id from ages"}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: age, logicalType: integer}
"""

DERIVED = PEOPLE.replace("roles:\n", f"{AGES.lstrip(chr(10))}roles:\n")

HOURLY = (
    PEOPLE + "slaProperties:\n  - {property: frequency, value: 1, unit: h, scheduler: cron, schedule: '0 * * * *'}\n"
)

WATCHED = PEOPLE.replace("path: people.csv, mode: snapshot", 'path: "people-*.csv", mode: upsert, watch: true')

PETS = """
  - name: pets
    customProperties:
      - property: input
        value: {server: here, path: pets.csv, mode: snapshot}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: owner
        logicalType: integer
        relationships: [{type: foreignKey, to: people.id, customProperties: [{property: enforced, value: false}]}]
"""

SLA = """
slaProperties:
  - {property: frequency, value: 1, unit: d, scheduler: cron, schedule: "0 6 * * *"}
  - {property: latency, value: 2, unit: d}
"""

TOWN = PEOPLE.replace("roles:\n", PETS.lstrip("\n") + "roles:\n") + SLA.lstrip("\n")
