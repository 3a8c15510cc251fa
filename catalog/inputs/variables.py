"""${NAME} in contracts."""

from __future__ import annotations

import os
import re

from catalog.inputs.permits import Permits
from runtime.settings.values import DATA_VARIABLE

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_variables(text: str, permits: Permits) -> tuple[str, list[str]]:
    """The text with ${VARIABLES} filled in from the environment, and what keeps others from being filled in."""
    problems: list[str] = []

    def expand(match: re.Match[str]) -> str:
        name = match[1]
        if name == DATA_VARIABLE:
            return str(permits.settings.data_folder)
        if problem := permits.refuse_variable(name):
            problems.append(problem)
        elif name in os.environ:
            return os.environ[name]
        else:
            problems.append(f"the environment variable {name} is not set")
        return ""

    return VARIABLE.sub(expand, text), problems
