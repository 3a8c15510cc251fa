"""Pages of lists: where the next one stands, and what the visitor has chosen."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from api.portal.asking import Asking, Parameters, Reply, write_query


def chosen(asking: Asking, names: tuple[str, ...]) -> dict[str, str]:
    """The parameters of the page's address that its list takes, without empty ones: forms send those too."""
    query = asking.request.query_params
    return {name: query[name] for name in names if query.get(name)}


def next_path(reply: Reply, path: str) -> str | None:
    """The address of the page's next part; None where the list has ended. The limit is the page's own."""
    following = reply.value["next"]
    if following is None:
        return None
    kept: Parameters = [each for each in parse_qsl(urlsplit(following).query) if each[0] != "limit"]
    return f"{path}?{write_query(kept)}"


def with_query(path: str, parameters: dict[str, str]) -> str:
    """A path with parameters."""
    return f"{path}?{write_query(list(parameters.items()))}" if parameters else path
