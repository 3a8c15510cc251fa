"""The same drawing in fewer bytes: what draws nothing is left out, what repeats is said once. Pure.

A drawing of the renderer says every attribute of every mark, in sixteen digits, within groups of no meaning; a report
has a dozen drawings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

# What children have of their parent where they do not say otherwise; some of it is of texts alone.
TEXTUAL = frozenset({"font-family", "font-size", "font-weight", "font-style", "text-anchor"})
INHERITED = TEXTUAL | {
    *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-miterlimit")
}
# What is so where nothing is said.
PLAIN = {
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity", "stroke-width"), "1"),
    **dict.fromkeys(("x", "y", "x1", "y1", "x2", "y2", "dx", "dy"), "0"),
    "transform": "translate(0,0)",
    "stroke-dasharray": "1,0",
    "font-weight": "normal",
    "font-style": "normal",
}
SHAPES = frozenset({"path", "rect", "line", "circle"})
UNSEEN = frozenset({"none", "transparent"})
COORDINATES = frozenset({"d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "width", "height", "viewBox"})
NUMBER = re.compile(r"-?[0-9]*\.[0-9]+(?:e[-+]?[0-9]+)?|-?[0-9]+e[-+]?[0-9]+")
COLOUR = re.compile(r"rgb\(([0-9]{1,3}), ?([0-9]{1,3}), ?([0-9]{1,3})\)")
TRANSLATE = re.compile(r"translate\(([^,()]+),([^,()]+)\)")
POINT = re.compile(r"M([^,A]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0Z?")  # a circle about the origin
DECIMALS = 1  # of a pixel
Look = dict[str, str]


def lighten(root: Element) -> None:
    """Makes a drawing lighter; it looks the same."""
    shorten_numbers(root)
    drop_plain(root, {})
    drop_unseen(root, {})
    merge_all(root)
    hoist(root)
    flatten(root)


def shorten_numbers(element: Element) -> None:
    """Rounds coordinates to a tenth of a pixel, and writes colours in seven signs."""
    for name, value in element.attrib.items():
        if colour := COLOUR.fullmatch(value):
            element.set(name, "#" + "".join(f"{min(int(part), 255):02x}" for part in colour.groups()))
        elif name in COORDINATES:
            element.set(name, NUMBER.sub(round_number, value))
        elif name == "transform":
            # A scale is no coordinate.
            element.set(name, TRANSLATE.sub(lambda found: NUMBER.sub(round_number, found[0]), value))
    for child in element:
        shorten_numbers(child)


def round_number(found: re.Match[str]) -> str:
    """A number of fewer digits."""
    return write_number(float(found[0]))


def write_number(value: float) -> str:
    """A number as drawings have it."""
    rounded = round(value, DECIMALS)
    return f"{rounded:.{DECIMALS}f}".rstrip("0").rstrip(".") if rounded else "0"


def drop_plain(element: Element, inherited: Look) -> None:
    """Takes out what is so without being said."""
    for name, value in list(element.attrib.items()):
        if PLAIN.get(name) == value and name not in inherited:
            del element.attrib[name]
    look = inherited | {name: value for name, value in element.attrib.items() if name in INHERITED}
    for child in element:
        if child.tag != "defs":  # a gradient reaches to the right where it does not say otherwise
            drop_plain(child, look)


def drop_unseen(element: Element, inherited: Look) -> None:
    """Takes out shapes that have no extent or no colour, and groups of nothing."""
    look = inherited | {name: value for name, value in element.attrib.items() if name in INHERITED}
    for child in list(element):
        if child.tag in {"defs", "clipPath"}:
            continue  # what is clipped to has no colour
        drop_unseen(child, look)
        if is_unseen(child, look):
            element.remove(child)


def is_unseen(element: Element, inherited: Look) -> bool:
    """Whether nothing of an element can be seen."""
    if element.tag == "g":
        return not len(element)
    if element.tag not in SHAPES:
        return False
    fill, stroke = (
        element.get(name, inherited.get(name, plain)) for name, plain in (("fill", ""), ("stroke", "none"))
    )
    return (element.tag == "path" and not element.get("d")) or (fill in UNSEEN and stroke in UNSEEN)


def merge_all(element: Element) -> None:
    """Puts neighbours that look the same into one path."""
    points = []
    for child in element:
        merge_all(child)
        if child.tag == "path" and POINT.fullmatch(child.get("d", "")):
            points.append(child)
        move_shape(child)
    if len(points) == len(element):
        # The points of one series after those of another.
        element[:] = [
            each for look in dict.fromkeys(map(look_of, points)) for each in points if look_of(each) == look
        ]
    last: Element | None = None
    for child in list(element):
        if last is not None and can_merge(last, child):
            last.set("d", last.attrib["d"] + child.attrib["d"])
            element.remove(child)
        else:
            last = child


def move_shape(element: Element) -> None:
    """Says where a line, a point or a text is in its own coordinates, if it is only moved."""
    moved = TRANSLATE.fullmatch(element.get("transform", "translate(0,0)"))
    if moved is None or not set(element.attrib).isdisjoint({"x", "y", "x1", "y1", "clip-path"}):
        return
    x, y = moved[1], moved[2]
    if element.tag == "line":
        right, down = element.attrib.pop("x2", "0"), element.attrib.pop("y2", "0")
        line = f"h{right}" if down == "0" else f"v{down}" if right == "0" else f"l{right},{down}"
        element.tag = "path"
        element.set("d", f"M{x},{y}{line}")
    elif element.tag == "path" and (point := POINT.fullmatch(element.get("d", ""))):
        radius, across = point[1], write_number(2 * float(point[1]))
        half = f"a{radius},{radius},0,1,1,"
        begin = write_number(float(x) + float(radius))
        element.set("d", f"M{begin},{y}{half}-{across},0{half}{across},0Z")
    elif element.tag == "text" and "transform" in element.attrib:
        element.set("x", x)
        element.set("y", y)
    else:
        return
    element.attrib.pop("transform", None)


def can_merge(first: Element, second: Element) -> bool:
    """Whether two neighbours can be one path: where they overlap, that must show nothing of the one below."""
    if not first.tag == second.tag == "path" or len(first) or len(second):
        return False
    is_filled = first.get("fill", "none") not in UNSEEN
    is_clear = not {"opacity", "fill-opacity"}.isdisjoint(first.attrib) or (
        is_filled and "stroke-opacity" in first.attrib
    )
    return look_of(first) == look_of(second) and not is_clear


def look_of(element: Element) -> frozenset[tuple[str, str]]:
    """What a path looks like, wherever it is."""
    return frozenset((name, value) for name, value in element.attrib.items() if name != "d")


def hoist(element: Element) -> None:
    """Says on a group what all its children say."""
    children = list(element)
    for child in children:
        hoist(child)
    if (
        element.tag not in {"g", "svg"}
        or not children
        or any(child.tag in {"defs", "clipPath"} for child in children)
    ):
        return
    written = [child for child in children if any(part.tag == "text" for part in child.iter())]
    for name in sorted(INHERITED):
        saying = written if name in TEXTUAL else children
        values = {child.get(name) for child in saying}
        value = values.pop() if len(values) == 1 else None
        if value is not None:
            element.set(name, value)
            for child in saying:
                del child.attrib[name]


def flatten(element: Element) -> None:
    """Takes groups out that say nothing, and those of one child that can say it itself."""
    for child in element:
        flatten(child)
    element[:] = list(flattened(element))


def flattened(element: Element) -> Iterator[Element]:
    """The children of an element, those of plain groups among them."""
    for child in element:
        if child.tag != "g" or not len(child):
            yield child
        elif not child.attrib:
            yield from child
        elif len(child) == 1 and can_join(child, child[0]):
            child[0].attrib |= {name: value for name, value in child.attrib.items() if name not in child[0].attrib}
            yield child[0]
        else:
            yield child


def can_join(group: Element, child: Element) -> bool:
    """Whether the only child of a group can say what the group says."""
    own = set(group.attrib) - INHERITED
    if child.tag in {"defs", "clipPath", "text"} and own:
        return False
    return own <= {"transform"} and not (own and {"transform", "clip-path"} & set(child.attrib))
