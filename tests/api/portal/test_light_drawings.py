"""Drawings are made lighter, and look the same: compared as a browser paints them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from playwright.sync_api import Browser

from api.portal.charts.aggregate import chart_of_groups
from api.portal.charts.drawing import SVG, clean_element, clean_svg, draw
from api.portal.charts.light_svg import lighten

# How many squares of two by two pixels differ clearly: an edge that lies between two pixels is drawn on either.
COMPARE = """async ([first, second]) => {
  const paint = async (svg) => {
    const image = new Image();
    image.src = "data:image/svg+xml," + encodeURIComponent(svg);
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, image.width, image.height);
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  };
  const [one, other] = [await paint(first), await paint(second)];
  const differs = (pixel) => [0, 1, 2].some((part) =>
    Math.abs(one.data[4 * pixel + part] - other.data[4 * pixel + part]) > 64);
  let squares = 0, painted = 0;
  for (let pixel = 0; pixel + one.width + 1 < one.width * one.height; pixel += 1) {
    squares += [0, 1, one.width, one.width + 1].every((step) => differs(pixel + step));
    painted += [0, 1, 2].some((part) => one.data[4 * pixel + part] < 250);
  }
  return [one.width === other.width && one.height === other.height, painted, squares];
}"""


def rows_of(names: list[str], sizes: list[int]) -> list[dict[str, Any]]:
    """A row for each combination of values, whose measure rises and falls below nothing."""
    rows: list[dict[str, Any]] = [{}]
    for name, size in zip(names, sizes, strict=True):
        values = [
            f"2026-{n + 1:02d}-01" if name == "month" else n * 10 if name == "size" else f"{name} {n}"
            for n in range(size)
        ]
        rows = [row | {name: value} for row in rows for value in values]
    return [row | {"price": (index * 37 % 23) - 4.125} for index, row in enumerate(rows)]


@pytest.fixture(scope="module")
def drawings() -> list[tuple[str, str]]:
    """Every kind of chart at both widths: as the renderer has it, and as pages have it."""
    found = []
    for view, groups, names, sizes in (
        ("bar", ["kind"], ["kind"], [12]),
        ("bar", ["kind", "origin"], ["kind", "origin"], [6, 3]),
        ("line", ["month(day)", "kind"], ["month", "kind"], [12, 3]),
        ("histogram", ["bin(size,10)"], ["size"], [20]),
        ("heat", ["kind", "origin"], ["kind", "origin"], [8, 7]),
        ("multiples", ["kind", "month(day)"], ["kind", "month"], [4, 9]),
        ("multiples", ["kind", "origin"], ["kind", "origin"], [5, 4]),
    ):
        planned = chart_of_groups(view, groups, names, "price", rows_of(names, sizes))
        assert planned is not None
        found += [(svg, clean_svg(svg, "c")) for svg, _ in draw(orjson.dumps(planned.specification))]
    return found


@pytest.mark.slow
def test_a_lighter_drawing_looks_the_same(drawings: list[tuple[str, str]], chromium: Browser) -> None:
    page = chromium.new_page()
    try:
        for whole, light in drawings:
            has_one_size, painted, squares = page.evaluate(COMPARE, [whole, light])
            assert has_one_size
            assert painted > 1000
            assert squares < painted / 400, light
    finally:
        page.close()


@pytest.mark.slow
def test_a_drawing_has_half_the_bytes_at_most(drawings: list[tuple[str, str]]) -> None:
    for whole, light in drawings:
        root = ElementTree.fromstring(whole)
        clean_element(root, "c")
        assert len(light) < 0.6 * len(ElementTree.tostring(root))
        again = ElementTree.fromstring(light)
        assert again.tag == f"{{{SVG}}}svg"


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("drawn", "light"),
    [
        # What cannot be seen.
        ('<svg><g fill="none"><path d="M0,0h5v5h-5Z"/><path d="" fill="red"/><g/></g></svg>', "<svg/>"),
        (
            '<svg><text>a</text><rect width="5" opacity="1" stroke-width="1" x="0"/></svg>',
            '<svg><text>a</text><rect width="5"/></svg>',
        ),
        # What an ancestor says otherwise stays.
        (
            '<svg stroke-width="3"><path d="M0,0h5" stroke-width="1"/></svg>',
            '<svg stroke-width="1"><path d="M0,0h5"/></svg>',
        ),
        ('<svg><path d="M0,0h5" fill="rgb(255, 0, 10)"/></svg>', '<svg fill="#ff000a"><path d="M0,0h5"/></svg>'),
        # A scale has all its digits.
        (
            '<svg><path d="M1.23456,0h5" transform="translate(1.26,2) scale(0.0125)"/></svg>',
            '<svg><path d="M1.2,0h5" transform="translate(1.3,2) scale(0.0125)"/></svg>',
        ),
        # Lines of one look are one path, of two looks two.
        (
            '<svg><line transform="translate(0,1)" x2="5" y2="0"/><line transform="translate(0,3)" x2="0" y2="4"/>'
            '<line x2="5" y2="6" stroke="red"/></svg>',
            '<svg><path d="M0,1h5M0,3v4"/><path stroke="red" d="M0,0l5,6"/></svg>',
        ),
        # What shines through is painted one upon another.
        (
            '<svg><path d="M0,0h5v5h-5Z" opacity="0.5"/><path d="M2,0h5v5h-5Z" opacity="0.5"/></svg>',
            '<svg><path d="M0,0h5v5h-5Z" opacity="0.5"/><path d="M2,0h5v5h-5Z" opacity="0.5"/></svg>',
        ),
        # A shape is not the same as a text whose fonts it does not have.
        (
            '<svg><g><path d="M0,0h5"/><text font-size="12px" transform="translate(3,4)">a</text></g></svg>',
            '<svg font-size="12px"><path d="M0,0h5"/><text x="3" y="4">a</text></svg>',
        ),
    ],
)
def test_what_is_left_of_a_drawing(drawn: str, light: str) -> None:
    root = ElementTree.fromstring(drawn)
    lighten(root)
    assert ElementTree.tostring(root, encoding="unicode").replace(" />", "/>") == light
