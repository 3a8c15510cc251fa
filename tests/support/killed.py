"""Loads in processes of their own, which end as by a power cut: forks of one that has everything imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from catalog.contract.load import load_catalog
from catalog.storage.dataset_tables import build_tables
from ingest.loading.loader import Loader
from runtime.postgres.database import INGEST_ROLE, make_engine
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.waiting import wait_until

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
SECONDS = 120.0
SESSIONS = f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = '{INGEST_ROLE}'"


class Trap(NamedTuple):
    """The function at whose call a process dies: before it does anything, or when it is done."""

    module: str
    name: str
    before: bool


def run_killed(lab: Lab, address: str, module: ModuleType, name: str, *, before: bool = False) -> None:
    """One load of a dataset, which is killed where `module` calls the function `name`; the server has noticed."""
    settings = lab.settings
    folders = {name: str(getattr(settings, name)) for name in ("home", "contracts", "data_folder")}
    arguments = (folders, lab.urls.ingest, address, Trap(module.__name__, name, before))
    before_it = set(lab.rows(SESSIONS))
    child = PROCESSES.Process(target=load_and_die, args=arguments)
    child.start()
    child.join(SECONDS)
    assert child.exitcode == -signal.SIGKILL
    wait_until(lambda: set(lab.rows(SESSIONS)) <= before_it, SECONDS)  # what its session held is held no more


def load_and_die(folders: dict[str, str], url: str, address: str, trap: Trap) -> None:
    """What such a process does."""
    home, contracts, data = (Path(folders[name]) for name in ("home", "contracts", "data_folder"))
    settings = load_settings(home=home, contracts=contracts, data=data)
    catalog = load_catalog(settings)
    module = import_module(trap.module)
    original = getattr(module, trap.name)

    def die(*args: Any, **kwargs: Any) -> None:
        if not trap.before:
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, trap.name, die)
    Loader(settings, catalog, build_tables(catalog.products.values()), make_engine(url)).run(catalog.find(address)[0])
