"""Finds the closest known name for a misspelled one, such as a setting's. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.85  # of difflib's measure; it finds two slips in one long name


def find_near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most likely meant, None where none is near: by case, signs, or one slip."""
    folded = {fold_name(other): other for other in known}
    text = fold_name(name)
    if text in folded:
        return folded[text]
    slips = [other for key, other in folded.items() if is_one_slip(text, key)]
    close = slips or [folded[key] for key in difflib.get_close_matches(text, list(folded), n=1, cutoff=ALIKE)]
    return close[0] if close else None


def fold_name(name: str) -> str:
    """The name without case, blanks, hyphens and underscores."""
    return "".join(sign for sign in name.casefold() if sign not in "-_. ")


def is_one_slip(one: str, other: str) -> bool:
    """Whether one letter more, less or other, or two that changed places, make one name the other."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return (len(one) <= 1 and len(other) <= 1) or (len(one) == 2 and one == other[::-1])
