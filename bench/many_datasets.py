"""A catalogue of many datasets, made without a load for each: contracts, and the ledger as publications leave it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

DATASETS_EACH = 10  # of a product
# Every fiftieth load failed, every hundredth was withheld, and every twentieth dataset is late.
FAILED, WITHHELD, LATE = 50, 100, 20
LOADS = 3  # of each dataset
PRODUCT = """
apiVersion: v3.1.0
kind: DataContract
id: region-{number:03}
name: Region {number:03}
version: 1.0.0
status: active
tags: [region, "zone {zone}"]
description: {{purpose: "What happens in region {number:03}, measured every day by its stations and offices."}}
slaProperties:
  - {{property: latency, value: 2, unit: d, element: "{elements}"}}
servers:
  - {{server: here, type: local, path: "${{DECANT_DATA}}", format: csv}}
schema:
{datasets}
roles:
  - {{role: "region-{number:03}:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}
"""
DATASET = """
  - name: measures_{number:03}_{index}
    description: "Daily measures of station {index} in region {number:03}: levels, flows and how they were taken."
    customProperties:
      - {{property: input, value: {{server: here, path: measures.csv, mode: snapshot}}}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true, description: Number of the measure}}
      - {{name: level, logicalType: number, physicalType: "numeric(10,2)", description: Water level in metres}}
      - {{name: taken_at, logicalType: timestamp, description: When it was taken}}
"""
# As publications leave it: heads, loads, revisions and what the rules measured.
LEDGER = f"""
UPDATE decant.datasets SET revision = {LOADS}, oldest_revision = 1, record_count = 1000 + id,
  published_at = now() - make_interval(mins => id::int),
  newest_at = now() - CASE WHEN id % {LATE} = 0 THEN interval '9 days' ELSE interval '1 hour' END;
INSERT INTO decant.loads (dataset_id, kind, status, revision, raw, accepted, rejected, duplicates, inserted, updated,
  deleted, unchanged, error_code, error, started_at, finished_at)
SELECT d.id, 'ingest', ended.status, CASE ended.status WHEN 'published' THEN number END,
  d.record_count, d.record_count, 0, 0, 10, 5, 1, d.record_count - 15,
  CASE ended.status WHEN 'failed' THEN 'source_missing' END, CASE ended.status WHEN 'failed' THEN 'no file' END,
  ended.at, ended.at + interval '2 seconds'
FROM decant.datasets AS d, generate_series(1, {LOADS} + 1) AS number, LATERAL (SELECT
  now() - make_interval(mins => d.id::int, days => {LOADS} + 1 - number) AS at,
  CASE WHEN number <= {LOADS} THEN 'published' WHEN d.id % {FAILED} = 0 THEN 'failed'
    WHEN d.id % {WITHHELD} = 1 THEN 'withheld' END AS status) AS ended
WHERE ended.status IS NOT NULL ORDER BY number, d.id;
INSERT INTO decant.revisions (dataset_id, revision, load_id, record_count, inserted, updated, deleted, published_at)
SELECT dataset_id, revision, id, accepted, inserted, updated, deleted, finished_at
FROM decant.loads WHERE status = 'published';
INSERT INTO decant.quality_results (load_id, position, rule, dimension, measured, bound, passed, severity, reads)
SELECT l.id, place, 'rule ' || place, 'completeness', 0.5, 'at most 1', true, 'error', NULL
FROM decant.loads AS l, generate_series(1, 3) AS place;
ANALYZE decant.datasets, decant.loads, decant.revisions, decant.quality_results;
"""


def write_contracts(datasets: int) -> Iterator[str]:
    """The contracts of products that have so many datasets together."""
    for number, first in enumerate(range(0, datasets, DATASETS_EACH)):
        indexes = range(min(DATASETS_EACH, datasets - first))
        elements = ", ".join(f"measures_{number:03}_{index}.taken_at" for index in indexes)
        parts = "".join(DATASET.format(number=number, index=index) for index in indexes)
        yield PRODUCT.format(number=number, zone=number % 7, datasets=parts.strip("\n"), elements=elements)


def publish_all(owner: str) -> None:
    """Writes the ledger of a migrated database; `owner` is its owner's login."""
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(LEDGER.encode())
