"""Prints the shape of the package in figures, and draws its layers for ``architecture.md``.

python docs/shape.py             the figures
python docs/shape.py --write     the picture as well
"""

from __future__ import annotations

import ast
import configparser
import html
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import TypeGuard

import grimp
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import Contact, Directory, InteractionMail, Merge, Party, merge_denied

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flask_interaction_mail"
PICTURE = ROOT / "docs" / "pictures" / "layers.svg"

Imports = Mapping[str, set[str]]  # module -> those that it imports
Code = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_WIDTH, _ROW, _GAP, _MARGIN = 940, 46, 10, 14  # pixels


def layers() -> list[list[str]]:
    """The folders and modules at the top, from the edge to the words, as the contract has them."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", "utf-8")
    lines = contracts["importlinter:contract:layers"]["layers"].strip().splitlines()
    return [line.replace(":", "|").replace(" ", "").split("|") for line in lines]


@cache
def imports() -> Imports:
    """Who imports whom, inside functions and for annotations too."""
    graph = grimp.build_graph(PACKAGE.name, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def folders() -> Imports:
    """The same for what stands at the top: folders, and modules beside them."""
    found: dict[str, set[str]] = {}
    for name, imported in imports().items():
        top = _top(name)
        found.setdefault(top, set()).update({_top(one) for one in imported} - {top})
    return {name: imported - {PACKAGE.name} for name, imported in found.items() if name}


def longest_chain(of: Imports) -> list[str]:
    """The longest way down, from one that imports to one that imports nothing.

    Raises:
        CycleError: there is a circle.
    """
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(of).static_order():
        below = (chains[one] for one in of.get(name, ()))
        chains[name] = [name, *max(below, key=len, default=[])]
    return max(chains.values(), key=len)


def has_circle(of: Imports) -> bool:
    """Whether one of them imports itself by way of others."""
    try:
        TopologicalSorter(of).prepare()
    except CycleError:
        return True
    return False


def code_lines(text: str) -> int:
    """How many lines of a module are neither blank nor comment nor docstring."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - set(_docstring_lines(text)))


_NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def _docstring_lines(text: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield from range(node.lineno, (node.end_lineno or 0) + 1)


def figures() -> dict[str, str]:
    """What ``make shape`` prints."""
    texts = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    parts = [node for text in texts.values() for node in ast.walk(ast.parse(text))]
    functions = [one for one in parts if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = [one for one in parts if isinstance(one, ast.ClassDef)]
    lengths = {one: _length(one) for one in [*functions, *classes]}
    longest = max(functions, key=lambda one: lengths[one])
    largest = max(classes, key=lambda one: lengths[one])
    state = next(one for one in ast.parse(texts[PACKAGE / "state.py"]).body if _is_state(one))
    modules, tops = longest_chain(imports()), longest_chain(folders())
    return {
        "modules at the top": str(len(list(PACKAGE.glob("*.py")))),
        "modules in all": str(len(texts)),
        "lines of code": f"{sum(map(code_lines, texts.values())):,}",
        "circles": "some" if has_circle(imports()) or has_circle(folders()) else "0",
        "longest chain of folders": f"{len(tops)}: {_way(tops)}",
        "longest chain of modules": f"{len(modules)}: {_way(modules)}",
        "median function": f"{statistics.median(lengths[one] for one in functions):.0f} lines",
        "longest function": f"{lengths[longest]} lines: {longest.name}",
        "largest class": f"{lengths[largest]} lines: {largest.name}",
        "State": f"{_length(state)} lines",
        "climbs of a notification": str(climbs()),
    }


def _is_state(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    return isinstance(node, ast.ClassDef) and node.name == "State"


def _length(code: Code) -> int:
    return (code.end_lineno or code.lineno) - code.lineno + 1


def _way(chain: list[str]) -> str:
    return " > ".join(name.removeprefix(f"{PACKAGE.name}.") for name in chain)


def _top(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def climbs() -> int:
    """How often a function calls one of a layer above, while a merge request is made and sent."""
    app = _application()
    heights = {name: number for number, layer in enumerate(layers()) for name in layer}
    count = 0

    def follow(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        if event == "call" and _is_ours(frame) and (caller := _caller(frame)):
            count += heights[_top(_module(frame))] < heights[_top(_module(caller))]

    with app.app_context():
        sys.setprofile(follow)
        try:
            merge_denied.send(app, merge=_MERGE)
            app.do_teardown_appcontext(None)  # where it is stored, and delivered
        finally:
            sys.setprofile(None)
    if [one["To"] for one in messaging.memory(app).messages] != [_TO]:
        raise RuntimeError("The request was not sent.")
    return count


def _caller(frame: FrameType) -> FrameType | None:
    """The function of ours that calls; None where it is called by another package."""
    caller = frame.f_back
    while caller is not None and _module(caller) in ("contextlib", "functools"):
        caller = caller.f_back
    return caller if caller is not None and _is_ours(caller) else None


def _is_ours(frame: FrameType) -> bool:
    return _module(frame).startswith(f"{PACKAGE.name}.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


class _People(Directory):
    def merge_recipients(self, location: str) -> list[Party]:  # noqa: ARG002 - the same anywhere
        return [Party("Data Stewards", "stewards", kind="group")]


_TO = "Data Stewards <stewards@example.com>"
_MERGE = Merge((Contact(1, "Ada", location="Clients"), Contact(2, "Ada B", location="Clients")))
db = SQLAlchemy()
messaging = InteractionMail(db=db, directory=_People())


def _application() -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://",
        INTERACTION_MAIL_TRANSPORT="memory",
        INTERACTION_MAIL_OVERRIDES={
            "company_domain": "example.com",
            "smtp_server": "mail.example.com",
            "default_to": "crm",
            "default_from": "crm",
        },
    )
    db.init_app(app)
    messaging.init_app(app)
    with app.app_context():
        db.create_all()
    return app


def picture() -> str:
    """The layers as an SVG image: what is above may import what is below."""
    rows = [row for layer in layers() for row in _rows(layer)]
    height = _MARGIN + len(rows) * (_ROW + _GAP) + _MARGIN
    boxes = "\n".join(
        _box(name, at, len(row), _MARGIN + number * (_ROW + _GAP))
        for number, row in enumerate(rows)
        for at, name in enumerate(row)
    )
    return _SVG.format(width=_WIDTH, height=height, boxes=boxes)


def _rows(layer: list[str]) -> Iterator[list[str]]:
    """A layer in rows of at most five."""
    for first in range(0, len(layer), 5):
        yield layer[first : first + 5]


def _box(name: str, at: int, count: int, top: float) -> str:
    width = (_WIDTH - 2 * _MARGIN - (count - 1) * _GAP) / count
    left = _MARGIN + at * (width + _GAP)
    folder = (PACKAGE / name).is_dir()
    path = PACKAGE / name / "__init__.py" if folder else PACKAGE / f"{name}.py"
    said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
    title = name + ("/" if folder else "")
    return _BOX.format(
        left=round(left, 1),
        top=top,
        width=round(width, 1),
        height=_ROW,
        middle=round(left + width / 2, 1),
        name_at=top + 19,
        said_at=top + 36,
        title=html.escape(title),
        said=html.escape(_fitting(said, width)),
        whole=html.escape(said),
    )


def _fitting(text: str, width: float) -> str:
    most = int(width / 6.1)
    text = text.replace("`", "")
    return text if len(text) <= most else text[: most - 1].rsplit(" ", 1)[0] + " …"


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 aria-labelledby="title" font-family="system-ui, sans-serif">
<title id="title">The layers of the package: what is above may import what is below.</title>
<rect width="{width}" height="{height}" fill="#fff"/>
{boxes}
</svg>
"""
_BOX = """<g text-anchor="middle"><title>{whole}</title>
<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="5" fill="#eef3f8"
 stroke="#5b7a99"/>
<text x="{middle}" y="{name_at}" font-size="13" font-weight="600" fill="#14283c">{title}</text>
<text x="{middle}" y="{said_at}" font-size="11" fill="#3a4d60">{said}</text></g>"""


def main() -> None:
    if "--write" in sys.argv[1:]:
        PICTURE.write_text(picture(), "utf-8")
    for name, value in figures().items():
        print(f"{name:<26}{value}")


if __name__ == "__main__":
    main()
