"""Types of SQL that is composed for a contract: which types its columns have, mypy cannot know."""

from __future__ import annotations

from typing import Any, TypeAlias

import sqlalchemy as sa

SqlExpression: TypeAlias = sa.ColumnElement[Any]
SqlQuery: TypeAlias = sa.Select[Any]
SqlType: TypeAlias = sa.types.TypeEngine[Any]
SqlRow: TypeAlias = sa.Row[Any]
