"""The service of a process that does nothing else."""

from __future__ import annotations

import asyncio

import pytest

from api import server
from tests.support.lab import Lab


def test_no_look_for_garbage_goes_through_what_the_service_is_made_of(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out: list[bool] = []
    monkeypatch.setattr(server, "leave_out_what_exists", lambda: left_out.append(hasattr(app.state, "context")))
    app = server.build_app(lab.settings, lab.urls, lab.catalog, None)
    assert not left_out  # the tables of all datasets are made later

    async def open_service() -> None:
        async with app.router.lifespan_context(app):
            assert left_out == [True]

    asyncio.run(open_service())
