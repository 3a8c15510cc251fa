"""What a terminal shows."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from commands.console import PlainConsole


def shown(show: Callable[..., Any], *facts: Any) -> str:
    """What a terminal gets; its own colours taken away."""
    file = io.StringIO()
    show(*facts, PlainConsole(file=file, force_terminal=True, color_system=None, width=200))
    return file.getvalue()
