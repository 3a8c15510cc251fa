"""Columns for text from outside: what Postgres rejects never reaches it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from runtime.plain_text import keep_text, map_texts, plain, restore_text


class PlainText(sa.TypeDecorator[str]):
    """Text for people: without characters that are not shown, and shortened."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """The text as it is written."""
        return None if value is None else plain(value)


class KeptText(sa.TypeDecorator[str]):
    """Text that is read again as it was."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """The text as it is written."""
        return None if value is None else keep_text(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """The text as it was given."""
        return None if value is None else restore_text(value)


class PlainJson(sa.TypeDecorator[Any]):
    """JSON for people."""

    impl = JSONB(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """The value as it is written."""
        return map_texts(value, plain)

    def coerce_compared_value(self, op: Any, value: object) -> Any:
        """What it is compared with is JSON's business."""
        return self.impl_instance.coerce_compared_value(op, value)


class KeptJson(sa.TypeDecorator[Any]):
    """JSON that is read again as it was."""

    impl = JSONB(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: object, dialect: sa.Dialect) -> object:
        """The value as it is written."""
        return map_texts(value, keep_text)

    def process_result_value(self, value: object, dialect: sa.Dialect) -> object:
        """The value as it was given."""
        return map_texts(value, restore_text)

    def coerce_compared_value(self, op: Any, value: object) -> Any:
        """What it is compared with is JSON's business."""
        return self.impl_instance.coerce_compared_value(op, value)
