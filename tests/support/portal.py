"""An open product whose every text is hostile, as the portal's tests show it."""

from __future__ import annotations

from collections.abc import Callable

from ingest.inspection.column_statistics import refresh_profiles
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab

SCRIPT = "<script>alert(1)</script>"
TURNED = "\u202egnp.exe"  # turns the direction of what follows
SHOP = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: "Shop <b>bold</b>"
version: 1.2.0
status: active
domain: trade
tags: ["<i>tag</i>", orders]
description:
  purpose: "Orders <script>alert(1)</script> with **strong** words and [a link](javascript:alert(1))."
  limitations: "<img src=x onerror=alert(1)>"
team: {name: "Sales <u>team</u>", members: [{username: sales@example.org}]}
support:
  - {channel: "click <me>", url: "javascript:alert(1)"}
  - {channel: mail, url: "mailto:sales@example.org"}
slaProperties:
  - {property: latency, value: 2, unit: d, element: orders.ordered_at}
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: orders
    description: "One record an order <script>alert(1)</script>"
    customProperties:
      - {property: input, value: {server: here, path: orders.csv, mode: snapshot}}
      - {property: maxRejected, value: 50}
    properties:
      - {name: id, logicalType: integer, primaryKey: true, description: "Number <b>of</b> the order"}
      - name: customer
        logicalType: string
        customProperties: [{property: searchable, value: true}]
        quality: [{metric: nullValues, mustBeLessThan: 1, severity: warning}]
      - {name: price, logicalType: number, physicalType: "numeric(10,2)"}
      - {name: kind, logicalType: string, customProperties: [{property: enum, value: [a, b, "<c>"]}]}
      - {name: ordered_at, logicalType: timestamp}
      - {name: "odd </title> name", logicalType: string}
roles:
  - {role: "shop:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
HEAD = "id,customer,price,kind,ordered_at,odd </title> name\n"


def shop_file(*changed: str) -> str:
    """The file of the second revision, with these lines in the place of those with their ids."""
    hostile = f'0,"{SCRIPT}",1.00,<c>,2026-02-01T00:00:00Z,"{TURNED}"'
    rows = [f"{n},Customer {n % 7},{n}.50,{'ab'[n % 2]},2026-01-{n % 28 + 1:02d}T10:00:00Z,x" for n in range(2, 60)]
    lines = {line.partition(",")[0]: line for line in (hostile, *rows, "61,,2.00,a,,")}
    return HEAD + "\n".join((lines | {line.partition(",")[0]: line for line in changed}).values()) + "\n"


# Prose that would be obeyed, every kind of block, and a dataset that not everybody may read.
REPORT = """---
title: "Sales <script>alert(1)</script> of the shop"
description: What was <b>sold</b>, and when.
---

# Found <img src=x onerror=alert(1)>

It says [click](javascript:alert(1)), ![seen](https://elsewhere.example/x.png), **strong** and \u202eturned.
See [the orders](/browse/shop/v1/orders) or [others](https://elsewhere.example/).

<div style="position:fixed">no element</div>

| kind | meaning |
|---|---|
| a | first |

```figure
/browse/shop/v1/orders/explore?measure=count
label: orders <i>in all</i>
```

```figure
/browse/shop/v1/orders/explore?kind=a&measure=sum:price
label: taken with a
unit: €
```

```figure
/browse/people/v1/people/explore?measure=sum:age
label: years of everybody
```

```chart
https://data.example/portal/browse/shop/v1/orders/explore?group_by=kind&measure=avg:price&view=bar#top
caption: Mean price by kind </figcaption>
measure: mean price
```

```table
/browse/shop/v1/orders/explore?properties=id,customer,kind&sort=id&limit=3
```

```table
/browse/people/v1/people/explore
caption: Everybody
```

```state
```

```checks
/browse/shop/v1
```

```quarantine
```

```sh
echo "plain code stays"
```
"""
BROKEN = """---
titel: Nothing
---

```chart
/browse/shop/v1/orders/explore?group_by=nothing
```

```chart
/browse/shop/v1/orders/explore?group_by=kind&view=line
```

```table
/browse/shop/v1/nothing/explore
```

```figure
/browse/shop/v1/orders
```

```chrat
/browse/shop/v1/orders/explore
```

```table
/browse/shop/v1/orders/explore
"""


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    """Two revisions of the open shop, with a check that warns, and a product that nobody sees without a key."""
    closed = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
    lab = make_lab(SHOP, closed)
    lab.settings.reports.mkdir(exist_ok=True)
    for name, text in (("sales", REPORT), ("broken", BROKEN)):
        (lab.settings.reports / f"{name}.md").write_text(text, encoding="utf-8")
    first = shop_file().replace("61,,2.00,a,,\n", "1,Customer 1,1.50,b,2026-01-02T10:00:00Z,x\n")
    lab.ingest("shop.orders", first, "orders.csv")
    refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    lab.ingest("shop.orders", shop_file(), "orders.csv")
    lab.ingest("people.people", "id,name,age,born\n1,Hedwig,30,1990-01-31\n")
    refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    return lab


TROUBLED = PEOPLE.replace("maxDeleted, value: 100", "maxDeleted, value: 20").replace(
    "roles:",
    """  - name: missing
    customProperties:
      - {property: input, value: {server: here, path: missing.csv}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
roles:""",
)


def load_troubled(make_lab: Callable[..., Lab]) -> Lab:
    """A product with rejected records of two reasons, a withheld load (2) and a failed one (3)."""
    lab = make_lab(TROUBLED)
    hostile = f'9,"{SCRIPT}",{TURNED},\n'
    first = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,40,\n3,Cy,50,\n4,Dee,x,\n5,Eve,200,\n" + hostile
    statuses = [
        lab.ingest("people.people", first).status,
        lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n").status,
        lab.ingest("people.missing").status,
    ]
    assert statuses == ["published", "withheld", "failed"]
    return lab
