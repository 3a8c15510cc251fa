"""Paths with `*`, `?`, `[…]` and `**`: which names they mean, alike in folders and in buckets. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

MAGIC = re.compile(r"[*?\[]")
ANY_DEPTH = "**"


def has_magic(path: str) -> bool:
    """Whether the path may mean more than one file."""
    return MAGIC.search(path) is not None


def split_path(path: str) -> list[str]:
    """The path's parts, without those that say nothing."""
    return [part for part in path.split("/") if part not in {"", "."}]


def fixed_prefix(path: str) -> str:
    """The folder that all the path may mean lies in, with a slash at its end; empty for the root."""
    parts = split_path(path)
    fixed = []
    for part in parts[:-1]:
        if MAGIC.search(part):
            break
        fixed.append(part)
    return "".join(f"{part}/" for part in fixed)


def match_name(name: str, pattern: str) -> bool:
    """Whether one part of a path fits; names that begin with a dot only where the pattern does, as in a shell."""
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))


def match_path(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a whole path fits."""
    if not patterns:
        return not parts
    if patterns[0] == ANY_DEPTH:
        if match_path(parts, patterns[1:]):
            return True
        return bool(parts) and not parts[0].startswith(".") and match_path(parts[1:], patterns)
    return bool(parts) and match_name(parts[0], patterns[0]) and match_path(parts[1:], patterns[1:])
