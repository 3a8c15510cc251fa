"""The views that fit a question. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from api.portal.charts.aggregate import fitting_views
from api.portal.explorer.question import VIEWS, Exploration


def views_of(question: Exploration, groups: Sequence[str]) -> list[str]:
    """The views that an answer can have."""
    if not question.is_aggregate or not groups:
        return []
    fitting = fitting_views(groups)
    return [view for view in VIEWS if view in fitting]
