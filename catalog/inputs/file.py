"""The `input` of a dataset that files of a folder feed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from open_data_contract_standard.model import Server

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.inputs.file_format import build_file_format
from catalog.inputs.permits import Permits, real_path
from catalog.inputs.variables import expand_variables
from catalog.model.dataset import Input


def build_file_input(
    value: YamlMapping, common: Input, server: Server, trail: YamlPath, findings: Findings, permits: Permits
) -> Input | None:
    """The input, its folder's variables filled in; None where it cannot be used."""
    path = value.get("path")
    if not isinstance(path, str) or not path:
        findings.error(trail, "input.path: must be set to the file's path below the server's folder")
        return None
    file_format = build_file_format(value, server, trail, findings)
    watch = read_watch(value, trail, findings)
    if file_format is None or watch is None:
        return None
    root, problems = expand_variables(server.path or ".", permits)
    path, also = expand_variables(path, permits)
    problems = [*problems, *also] or find_closed(root, path, permits)
    for problem in dict.fromkeys(problems):
        findings.error(trail, f"input: {problem}")
    return replace(common, kind="file", file_format=file_format, root=root, path=path, watch=watch)


def find_closed(root: str, path: str, permits: Permits) -> list[str]:
    """Why the files may not be read; what a pattern means is seen when it is, as is what has changed until then."""
    try:
        if problem := permits.refuse_path(root):
            return [problem]
        fixed = re.split(r"[^/]*[*?\[]", path, maxsplit=1)[0]
        place = Path(root) / fixed.lstrip("/")
        if not real_path(place).is_relative_to(real_path(root)):
            return [f"the path {path!r} is outside the server's folder"]
        problem = permits.refuse_path(place)
        return [problem] if problem else []
    except (OSError, ValueError):
        return []


def read_watch(value: YamlMapping, trail: YamlPath, findings: Findings) -> bool | None:
    """Whether a worker looks for news by itself; None where that is not said plainly."""
    watch = value.get("watch", False)
    if not isinstance(watch, bool):
        findings.error(trail, "input.watch: must be true or false")
        return None
    return watch
