"""Judges again and again what the callers of open streams may see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from api.auth.authenticator import Authenticator, Principal
from api.auth.permissions import find_dataset
from api.following.follower import Follower
from api.http.problems import Problem
from api.query.view import Views
from catalog.model.catalog import Catalog
from runtime.logs import log

JUDGED_SECONDS = 1.0  # between two rounds; a request believes what was found up to 4 s before
ROUND_SECONDS = 2.0  # that one may take
BELIEVED_SECONDS = 4.5  # since rights were judged last: what was revoked is over within 5 s
LOG = logging.getLogger("decant.following")


class Rights:
    """Ends the streams of callers whose credential has ended, or no longer opens the dataset."""

    def __init__(self, catalog: Catalog, views: Views, authenticator: Authenticator) -> None:
        self.catalog = catalog
        self.views = views
        self.authenticator = authenticator

    async def judge(self, followers: Collection[Follower]) -> None:
        """Judges all of them: keys in one statement, the tokens of one issuer beside those of others."""
        by_key: dict[str, list[Follower]] = {}
        by_issuer: dict[str, list[Follower]] = {}
        for follower in followers:
            principal = follower.caller.principal
            if principal.id is None:
                self.confirm(follower, principal)
            elif follower.caller.token is None:
                by_key.setdefault(principal.id, []).append(follower)
            else:
                by_issuer.setdefault(principal.issuer or "", []).append(follower)
        rounds = [self.judge_keys(by_key)] if by_key else []
        rounds += map(self.judge_tokens, by_issuer.values())
        for outcome in await asyncio.gather(*rounds, return_exceptions=True):
            if isinstance(outcome, Exception):
                # What was not confirmed ends soon; the next round may be able to.
                log(LOG, "rights_not_judged", logging.WARNING, error=type(outcome).__name__)
        now = asyncio.get_running_loop().time()
        for follower in followers:
            if now - follower.confirmed > BELIEVED_SECONDS:
                follower.end("unavailable")

    async def judge_keys(self, by_key: dict[str, list[Follower]]) -> None:
        """Judges the holders of keys; an error where the database does not answer in time."""
        async with asyncio.timeout(ROUND_SECONDS):
            found = await self.authenticator.look_up(by_key)
        for key_id, members in by_key.items():
            stored = found[key_id]
            for follower in members:
                if stored is None or stored.is_over():
                    follower.end("unauthorized")
                else:
                    self.confirm(follower, stored.principal)

    async def judge_tokens(self, followers: Sequence[Follower]) -> None:
        """Judges the holders of one issuer's tokens; an error where its keys are not to be had in time."""
        async with asyncio.timeout(ROUND_SECONDS):
            for follower in followers:
                try:
                    principal = await self.authenticator.authenticate_token(follower.caller.token or "")
                except Problem as problem:
                    if problem.code != "unauthorized":
                        raise
                    follower.end(problem.code)
                else:
                    self.confirm(follower, principal)

    def confirm(self, follower: Follower, principal: Principal) -> None:
        """Notes that a credential is valid, and lets the stream show what it opens now, or ends the stream."""
        product, major, name = follower.key
        try:
            dataset, access = find_dataset(self.catalog, principal, product, str(major), name)
        except Problem as problem:
            follower.end(problem.code)
            return
        follower.view = self.views.of(dataset, access)
        follower.confirmed = asyncio.get_running_loop().time()
