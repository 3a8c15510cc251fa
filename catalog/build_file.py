"""The `input` of a dataset that files of a folder feed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import Server

from catalog.build_form import build_form, fill_variables
from catalog.dataset import Input
from catalog.document import Findings, Trail
from catalog.settings import Settings


def build_file_input(
    value: dict[str, Any], common: Input, server: Server, trail: Trail, findings: Findings, settings: Settings
) -> Input | None:
    """The input, its folder's variables filled in; None where it cannot be used."""
    path = value.get("path")
    if not isinstance(path, str) or not path:
        findings.error(trail, "input.path: the file's path below the server's is needed")
        return None
    form = build_form(value, server, trail, findings)
    watch = read_watch(value, trail, findings)
    if form is None or watch is None:
        return None
    root, missing = fill_variables(server.path or ".", settings)
    path, also = fill_variables(path, settings)
    for name in [*missing, *also]:
        findings.error(trail, f"input: the environment variable {name} is not set")
    return replace(common, kind="file", form=form, root=root, path=path, watch=watch)


def read_watch(value: dict[str, Any], trail: Trail, findings: Findings) -> bool | None:
    """Whether a worker looks for news by itself; None where that is not said plainly."""
    watch = value.get("watch", False)
    if not isinstance(watch, bool):
        findings.error(trail, "input.watch: must be true or false")
        return None
    return watch
