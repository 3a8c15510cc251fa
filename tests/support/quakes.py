"""Contracts of the product `quakes`, fed by an API."""

from __future__ import annotations

QUAKES = """
apiVersion: v3.1.0
kind: DataContract
id: quakes
name: Quakes
version: 1.0.0
status: active
servers:
  - {server: remote, type: api, location: "${API_URL}/v1"}
schema:
  - name: quakes
    customProperties:
      - {property: input, value: {server: remote, path: quakes, mode: snapshot, retries: 1}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""

PAGED_QUAKES = """
apiVersion: v3.1.0
kind: DataContract
id: quakes
name: Quakes
version: 1.0.0
status: active
servers:
  - {{server: remote, type: api, location: "${{API_URL}}/v1"}}
schema:
  - name: quakes
    customProperties:
      - property: input
        value: {{server: remote, path: quakes, {input}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: place, logicalType: string}}
      - {{name: updated, logicalType: timestamp}}
"""
