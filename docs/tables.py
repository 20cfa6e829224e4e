"""Draws the tables for ``operations.md``, from the classes that they are made of.

python docs/tables.py --write
"""

from __future__ import annotations

import html
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from flask_interaction_mail.models import Base

PICTURE = Path(__file__).resolve().parent / "pictures" / "tables.svg"
# Each stands under the one before; lines lead from the sides to the messages in the middle.
COLUMNS = (
    ("delivery", "settings", "alert", "report"),
    ("message", "check", "token", "mailbox", "dead_address"),
    ("recipient", "attempt", "metadata", "activity", "tally"),
)

_WIDTH, _BOX_WIDTH, _MARGIN, _GAP = 940, 262, 14, 18  # pixels
_HEAD, _LINE = 46, 15


def picture() -> str:
    """The tables as an SVG image."""
    boxes = {name: place for column in range(3) for name, place in _places(column)}
    lines = [_line(boxes["message"], boxes[name]) for name in boxes if _table(name).foreign_keys]
    drawn = [_box(name, *place) for name, place in boxes.items()]
    height = max(top + _height(_table(name)) for name, (_, top) in boxes.items()) + _MARGIN
    return _SVG.format(width=_WIDTH, height=height, content="\n".join([*lines, *drawn]))


def _places(column: int) -> Iterator[tuple[str, tuple[float, float]]]:
    left, top = _MARGIN + column * (_WIDTH - 2 * _MARGIN - _BOX_WIDTH) / 2, float(_MARGIN)
    for name in COLUMNS[column]:
        yield name, (left, top)
        top += _height(_table(name)) + _GAP


def _class(name: str) -> type[Base]:
    (found,) = (
        mapper.class_
        for mapper in Base.registry.mappers
        if mapper.class_.__tablename__ == f"interaction_mail_{name}"
    )
    return found


def _table(name: str) -> sa.Table:
    return Base.metadata.tables[f"interaction_mail_{name}"]


def _height(table: sa.Table) -> int:
    return _HEAD + len(table.columns) * _LINE + 6


def _line(message: tuple[float, float], other: tuple[float, float]) -> str:
    to_right = other[0] > message[0]
    start = message[0] + (_BOX_WIDTH if to_right else 0)
    end = other[0] + (0 if to_right else _BOX_WIDTH)
    middle, first = (start + end) / 2, _HEAD + _LINE / 2
    corners = (
        (start, message[1] + first),
        (middle, message[1] + first),
        (middle, other[1] + first),
        (end, other[1] + first),
    )
    return _ELBOW.format(points=" ".join(f"{x:.1f},{y}" for x, y in corners))


def _box(name: str, left: float, top: float) -> str:
    table = _table(name)
    said = (inspect.getdoc(_class(name)) or "").split("\n\n")[0].replace("\n", " ")
    columns = "\n".join(
        _COLUMN.format(
            x=round(left + 12, 1),
            y=top + _HEAD + 11 + at * _LINE,
            name=html.escape(column.name),
            weight=600 if column.primary_key else 400,
        )
        for at, column in enumerate(table.columns)
    )
    short = said if len(said) <= 43 else said[:42].rsplit(" ", 1)[0] + " …"
    return _BOX.format(
        whole=html.escape(said),
        left=round(left, 1),
        top=top,
        width=_BOX_WIDTH,
        height=_height(table),
        title_x=round(left + 12, 1),
        title_y=top + 19,
        said_y=top + 36,
        title=html.escape(table.name),
        said=html.escape(short.replace("`", "")),
        columns=columns,
    )


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 aria-labelledby="title" font-family="system-ui, sans-serif">
<title id="title">The tables and their columns; lines lead from a row to its message.</title>
<rect width="{width}" height="{height}" fill="#fff"/>
{content}
</svg>
"""
_ELBOW = '<polyline points="{points}" fill="none" stroke="#5b7a99" stroke-width="1.5"/>'
_BOX = """<g><title>{whole}</title>
<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="5" fill="#eef3f8"
 stroke="#5b7a99"/>
<text x="{title_x}" y="{title_y}" font-size="13" font-weight="600" fill="#14283c">{title}</text>
<text x="{title_x}" y="{said_y}" font-size="10.5" fill="#3a4d60">{said}</text>
{columns}</g>"""
_COLUMN = '<text x="{x}" y="{y}" font-size="11" font-weight="{weight}" fill="#14283c">{name}</text>'


if __name__ == "__main__" and "--write" in sys.argv[1:]:
    PICTURE.write_text(picture(), "utf-8")
