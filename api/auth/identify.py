"""Authentication and rate limiting: the first step of every request that needs them."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.types import Scope

from api.auth.authenticator import Principal, has_credential
from api.auth.caller import CALLING, Caller
from api.auth.permissions import find_known_product, roles_of
from api.auth.rate_limits import Limiter, RateDecision, rate_headers
from api.auth.sessions import Sessions, Visitor
from api.http.client_address import CALLERS_MAXIMUM, Network, client_address
from api.http.problems import Problem
from api.http.security_events import PRINCIPAL
from catalog.model.catalog import Catalog
from catalog.model.reserved_names import CREDENTIAL_PARAMETERS
from runtime.settings.rate import Rate, parse_rate, read_limit
from runtime.settings.settings import Settings

# Where a request keeps what this step found, for the answer and for what is counted.
FIELDS = "decant.fields"
STANDING = "decant.standing"  # the same as a Standing, for pages
VISITOR = "decant.visitor"  # who asks for a page
# The principal of a question that a page asks in process: who asked for the page was identified and counted already.
IDENTIFIED = "decant.identified"
LOOKUPS_SPARE = 10.0
LOOKUPS_PER_SECOND = 1.0
CREDENTIAL_NAMES = tuple(f"{name}=".encode() for name in CREDENTIAL_PARAMETERS)


class Standing(NamedTuple):
    """How a caller stands with its rate limit."""

    rate: Rate
    decision: RateDecision


class Callers:
    """Tells principals from credentials, and holds them to their limits."""

    def __init__(self, settings: Settings, catalog: Catalog, sessions: Sessions, limiter: Limiter) -> None:
        self.catalog = catalog
        self.sessions = sessions
        self.authenticator = sessions.authenticator
        self.limiter = limiter
        self.anonymous_rate = read_limit(settings.rate_limit_anonymous)
        self.default_rate = read_limit(settings.rate_limit_default)
        self.lookups = Lookups()
        self.trusted = [ipaddress.ip_network(text) for text in settings.trusted_proxies]

    async def identify(self, scope: Scope, headers: Mapping[str, str]) -> Principal:
        """The principal of a request.

        `key_in_url` where a credential stands in the address, `unauthorized` for a bad one, `rate_limited` for one
        request too many. Whoever tries credentials is counted by address, and one that has to be looked up is not
        while its address has nothing left: a guess costs no more than a refusal.
        """
        if (identified := scope.get(IDENTIFIED)) is not None:
            return identified  # type: ignore[no-any-return]
        refuse_credential_in_url(scope)
        anonymous = self.authenticator.anonymous
        if self.authenticator.must_look_up(headers):
            self.refuse_exhausted(scope, anonymous)
        try:
            principal = await self.authenticator.authenticate(headers)
        except Problem:
            scope[PRINCIPAL] = anonymous
            await self.limit(scope, anonymous)
            raise
        await self.admit(scope, principal)
        return principal

    async def identify_visitor(self, scope: Scope, headers: Mapping[str, str], cookie: str | None) -> Visitor:
        """Who asks for a page: a credential in a header comes first, then the session whose text a cookie has.

        A session that has ended is nobody's: pages are shown as without it, and say why it ended. Texts are tried
        as keys are, so they are counted by address. Who was found already is not looked for, and not counted, again.
        """
        visitor: Visitor | None = scope.get(VISITOR)
        if visitor is None:
            visitor = scope[VISITOR] = await self.find_visitor(scope, headers, cookie)
        return visitor

    async def find_visitor(self, scope: Scope, headers: Mapping[str, str], cookie: str | None) -> Visitor:
        """The same, of a request of which nobody knows yet."""
        if cookie is None or has_credential(headers):
            return Visitor(await self.identify(scope, headers))
        refuse_credential_in_url(scope)
        anonymous = self.authenticator.anonymous
        if not self.sessions.remembers(cookie):
            self.refuse_exhausted(scope, anonymous)
        visitor = await self.sessions.find(cookie)
        await self.admit(scope, visitor.principal)
        return visitor

    async def admit(self, scope: Scope, principal: Principal) -> None:
        """Counts the request as the principal's; `rate_limited` where it is one too many."""
        scope[PRINCIPAL] = principal
        account, rate = await self.limit(scope, principal)
        CALLING.set(Caller(caller_name(scope, self.trusted), self.limiter, account, rate))

    async def limit(self, scope: Scope, principal: Principal) -> tuple[str, Rate | None]:
        """Counts the request; what it was counted under, and the limit of that.

        `rate_limited` where it is one too many.
        """
        name, rate = self.account_of(scope, principal)
        if rate is not None:
            self.check_rate(scope, rate, await self.limiter.take(name, rate))
        return name, rate

    def refuse_exhausted(self, scope: Scope, principal: Principal) -> None:
        """`rate_limited` where it is known already that nothing is left; nothing is counted.

        A few credentials are looked up all the same: a good one may come from the same address.
        """
        name, rate = self.account_of(scope, principal)
        decision = self.limiter.refusal(name, rate) if rate is not None else None
        if rate is not None and decision is not None and not self.lookups.spend(name):
            scope[PRINCIPAL] = principal
            self.check_rate(scope, rate, decision)

    def check_rate(self, scope: Scope, rate: Rate, decision: RateDecision) -> None:
        """Keeps what the answer says of the limit; `rate_limited` where the request is one too many."""
        scope[FIELDS] = rate_headers(rate, decision)
        scope[STANDING] = Standing(rate, decision)
        if not decision.allowed:
            raise Problem("rate_limited", headers={"Retry-After": str(decision.reset_seconds)})

    def account_of(self, scope: Scope, principal: Principal) -> tuple[str, Rate | None]:
        """What a request is counted under, and how much of that may be."""
        rate, shared = self.rate_of(principal, scope.get("path_params") or {})
        name = caller_name(scope, self.trusted, principal)
        return (f"{name} {shared}" if shared else name), rate

    def rate_of(self, principal: Principal, path_parameters: dict[str, Any]) -> tuple[Rate | None, str]:
        """The limit of a request, and what it is shared by: all requests, or those about one product.

        A key's own limit comes first, then the widest of its roles for the product that is asked about.
        """
        if principal.rate_limit is not None:
            return parse_rate(principal.rate_limit), ""
        product = find_known_product(
            self.catalog, path_parameters.get("product", ""), path_parameters.get("major", "")
        )
        if product is not None:
            known = principal.cache.get(("rate", product.schema))
            if known is None:
                roles = [role for access in ("read", "write") for role in roles_of(principal, product, access)]
                rates = [parse_rate(role.rate_limit) for role in roles if role.rate_limit]
                known = (max(rates, key=lambda rate: rate.quota / rate.window_seconds, default=None),)
                principal.cache["rate", product.schema] = known
            if known[0] is not None:
                return known[0], product.schema
        return (self.anonymous_rate if principal.id is None else self.default_rate), ""


class Lookups:
    """The few credentials that are looked up for an address whose requests are used up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> left, and when that was

    def spend(self, name: str) -> bool:
        """Whether one more may be looked up."""
        now = self.clock()
        left, since = self.known.pop(name, (LOOKUPS_SPARE, now))
        left = min(left + (now - since) * LOOKUPS_PER_SECOND, LOOKUPS_SPARE)
        allowed = left >= 1
        self.known[name] = (left - 1 if allowed else left, now)
        while len(self.known) > CALLERS_MAXIMUM:
            self.known.popitem(last=False)
        return allowed


def caller_name(scope: Scope, trusted: Sequence[Network], principal: Principal | None = None) -> str:
    """Who is held to limits: the holder of the credential that was judged good, else the address.

    A holder keeps the name when keys are rotated; a request whose credential is not judged yet counts by its address.
    """
    principal = principal or scope.get(PRINCIPAL)
    return (principal and principal.client) or f"address {client_address(scope, trusted)}"


def refuse_credential_in_url(scope: Scope) -> None:
    """`key_in_url` where a key or token stands in the address: addresses are logged."""
    query: bytes = scope["query_string"]
    if not query and b"dcnt_" not in scope["raw_path"]:
        return
    if b"dcnt_" in query or b"dcnt_" in scope["raw_path"]:
        raise Problem("key_in_url")
    for part in query.lower().split(b"&"):
        if part.startswith(CREDENTIAL_NAMES):
            raise Problem("key_in_url")
