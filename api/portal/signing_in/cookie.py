"""The cookie of a session: its name and attributes by how the service is reached, and where there is to be none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import Request
from starlette.responses import Response

from api.auth.openid import ATTEMPT_SECONDS
from api.auth.session_store import LONGEST
from api.http.addresses import public_path, scheme_of
from runtime.settings.settings import Settings

LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "[::1]"))


@dataclass(frozen=True)
class SessionCookie:
    """How sessions are carried here."""

    name: str
    is_secure: bool
    seconds: int = int(LONGEST.total_seconds())
    path: str = "/"

    def read(self, request: Request) -> str | None:
        """What the request's cookie holds; None where it has none, or two of that name.

        Names are compared byte by byte: only so the prefix `__Host-` says that no other host has set the cookie.
        Of two cookies, another host may have set one.
        """
        lines = [value for name, value in request.scope["headers"] if name == b"cookie"]
        pairs = (part.strip(b" \t").partition(b"=") for line in lines for part in line.split(b";"))
        found = [value for name, _, value in pairs if name == self.name.encode()]
        return found[0].decode("latin-1") if len(found) == 1 else None

    def write(self, response: Response, text: str) -> None:
        """Has the browser keep a session's text, out of reach of scripts and of other sites' forms."""
        response.set_cookie(
            self.name,
            text,
            max_age=self.seconds,
            path=self.path,
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )

    def clear(self, response: Response) -> None:
        """Has the browser forget it."""
        response.delete_cookie(self.name, path=self.path, secure=self.is_secure, httponly=True, samesite="lax")


SECURE = SessionCookie("__Host-decant", is_secure=True)
LOCAL = SessionCookie("decant", is_secure=False)


def attempt_cookie(request: Request) -> SessionCookie | None:
    """The cookie of an attempt to sign in at an issuer."""
    cookie = session_cookie(request)
    return None if cookie is None else replace(cookie, name=f"{cookie.name}-attempt", seconds=ATTEMPT_SECONDS)


def session_cookie(request: Request) -> SessionCookie | None:
    """The cookie of this service; None where a session could be read on its way.

    Over plain HTTP there is one in development only, and only on this machine. Where the service has a path of its
    own, the host's other services are not sent the cookie: the prefix against other hosts would forbid the path.
    """
    settings: Settings = request.app.state.settings
    path = public_path(settings, "") or "/"
    if scheme_of(request) == "https":
        return SECURE if path == "/" else replace(SECURE, name="__Secure-decant", path=path)
    host = request.headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return replace(LOCAL, path=path) if settings.env == "development" and name in LOCAL_HOSTS else None
