"""The figures and the picture of the package, as ``make shape`` makes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from flask_interaction_mail.storage.tables import TABLES

SCRIPT = Path(__file__).parents[2] / "docs" / "shape.py"


@pytest.fixture(scope="module")
def shape() -> ModuleType:
    return _load(SCRIPT)


def _load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_contract(shape: ModuleType) -> None:
    """``make shape`` would draw it as it is."""
    assert shape.PICTURE.read_text("utf-8") == shape.picture()


def test_the_picture_of_the_tables_is_theirs() -> None:
    """``make shape`` would draw it as it is, and each table is in it."""
    tables = _load(SCRIPT.parent / "tables.py")
    assert tables.PICTURE.read_text("utf-8") == tables.picture()
    drawn = {f"interaction_mail_{name}" for column in tables.COLUMNS for name in column}
    assert drawn == {table.name for table in TABLES}


def test_each_box_is_a_folder_or_a_module(shape: ModuleType) -> None:
    """All that stands at the top of the package is in the picture, once."""
    boxes = [name for layer in shape.layers() for name in layer]
    there = {path.stem for path in shape.PACKAGE.glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in shape.PACKAGE.glob("*/__init__.py")}
    assert sorted(boxes) == sorted(there)


def test_a_chain_goes_down_and_a_circle_is_seen(shape: ModuleType) -> None:
    """Each one imports the next one."""
    assert shape.longest_chain({"a": {"b"}, "b": {"c"}, "d": {"c"}}) == ["a", "b", "c"]
    assert not shape.has_circle(shape.imports())
    assert not shape.has_circle(shape.folders())
    assert shape.has_circle({"a": {"b"}, "b": {"a"}})


def test_nothing_is_far_from_the_words_it_is_made_of(shape: ModuleType) -> None:
    """How many folders and modules stand on top of each other at most, and how many at the top."""
    assert len(shape.longest_chain(shape.folders())) <= 12
    assert len(shape.longest_chain(shape.imports())) <= 16
    assert len(list(shape.PACKAGE.glob("*.py"))) <= 20


def test_code_is_neither_blank_nor_said(shape: ModuleType) -> None:
    """Docstrings and comments are not counted, texts that are values are."""
    text = (
        '"""Says."""\n\n# why\nname = """one\ntwo"""\n\n\ndef call():\n    """Says."""\n    pass\n'
    )
    assert shape.code_lines(text) == 4


def test_a_notification_seldom_climbs(shape: ModuleType) -> None:
    """From a denied merge to the mail: a call of a layer above is the exception."""
    assert 0 < shape.climbs() <= 12
