"""The formulas of capacity, and what they say a deployment needs. Costs are seconds of one core."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from api.database.published_heads import WHOLE_SECONDS

FULL = 0.7  # how busy a core may be: above that, requests wait for each other
OTHERS = 10  # connections that are left to commands, migrations and people


@dataclass(frozen=True)
class Constants:
    """What each piece of work costs on one machine."""

    idle: float  # share of a core of an API process that hears of nothing and is asked nothing
    notified: float  # seconds of an API process for a publication that it hears of: c1
    head: float  # seconds of an API process for each head of a full poll: c2
    cached: float  # answers from the cache in a second of an API process
    page: float  # pages of 100 records in a second of an API process
    page_database: float  # seconds of Postgres for such a page
    idle_database: float  # share of a core of Postgres for an API process that is asked nothing
    notified_database: float  # seconds of Postgres for an API process that hears of a publication
    load: float  # seconds of a worker for a small load
    load_database: float  # seconds of Postgres for it
    worker_idle: float  # share of a core of a worker that has nothing to do
    loads_per_second: float  # that one worker process reached
    connections: int  # of an API process, at most
    worker_connections: int  # of a worker, as counted under loads

    def as_json(self) -> dict[str, Any]:
        """All constants, for a file."""
        return asdict(self)


@dataclass(frozen=True)
class Demand:
    """What a deployment is asked for."""

    datasets: int
    publications: float  # a second, each of which is a small load
    requests: float  # a second
    hits: float  # share of the requests that the cache answers
    processes: int | None = None  # of the API; None: as many as needed


@dataclass(frozen=True)
class Plan:
    """What a demand needs."""

    background: float  # share of a core of each API process
    processes: int
    workers: int
    connections: int
    api_cores: float
    worker_cores: float
    database_cores: float

    @property
    def cores(self) -> float:
        """Of all parts together."""
        return self.api_cores + self.worker_cores + self.database_cores

    def shares(self, cores: int, max_connections: int) -> dict[str, float]:
        """What share of each resource is in use, the scarcest first; 1 is all of it."""
        used = {
            "cores": self.cores / cores,
            "connections": self.connections / max_connections,
        }
        return dict(sorted(used.items(), key=lambda item: -item[1]))

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return asdict(self)


def background(constants: Constants, publications: float, datasets: int, interval: float = WHOLE_SECONDS) -> float:
    """The share of a core that each API process uses to follow the heads: `b + ν·c1 + D·c2/T`."""
    return constants.idle + publications * constants.notified + datasets * constants.head / interval


def requests_per_second(constants: Constants, processes: int, used: float, hits: float) -> float:
    """What processes with a core each answer in a second: `N·(1 − u)/(h/cached + (1 − h)/page)`."""
    return processes * (1 - used) / cost_of_request(constants, hits)


def cost_of_request(constants: Constants, hits: float) -> float:
    """The seconds of an API process for a request of which this share is answered from the cache."""
    return hits / constants.cached + (1 - hits) / constants.page


def plan(constants: Constants, demand: Demand) -> Plan:
    """What the demand needs where no core is busier than `FULL`; ValueError where a core cannot follow the heads."""
    used = background(constants, demand.publications, demand.datasets)
    if used >= FULL:
        raise ValueError(f"Following the heads takes {used:.0%} of a core in each process: no process can serve.")
    asked = demand.requests * cost_of_request(constants, demand.hits)
    processes = demand.processes or max(math.ceil(asked / (FULL * (1 - used))), 1)
    worked = demand.publications * constants.load
    by_cpu = worked / max(FULL - constants.worker_idle, 0.01)
    workers = max(math.ceil(max(by_cpu, demand.publications / (FULL * constants.loads_per_second))), 1)
    following = constants.idle_database + demand.publications * constants.notified_database
    database = (
        demand.requests * (1 - demand.hits) * constants.page_database
        + demand.publications * constants.load_database
        + processes * following
    )
    return Plan(
        background=used,
        processes=processes,
        workers=workers,
        connections=processes * constants.connections + workers * constants.worker_connections + OTHERS,
        api_cores=processes * used + asked,
        worker_cores=workers * constants.worker_idle + worked,
        database_cores=database,
    )


def most_publications(constants: Constants, datasets: int, share: float = 0.1) -> float:
    """The publications in a second at which following them takes this share of a core of each API process."""
    return max(share - background(constants, 0, datasets), 0) / constants.notified
