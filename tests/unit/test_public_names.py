"""Whatever a public name takes, gives or has is public itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import flask_interaction_mail
from flask_interaction_mail import Directory, InteractionMail, Reason, Right, catcher, testing
from flask_interaction_mail.transport.memory import MemoryTransport

PACKAGE = flask_interaction_mail.__name__


def hints(of: Any) -> dict[str, Any]:
    """The annotations of ``of``, also where they name what is imported for annotations alone."""
    names: dict[str, Any] = {}
    for owner in reversed(getattr(of, "__mro__", [of])):  # a class has those of its bases as well
        module = sys.modules[owner.__module__]
        if module.__name__.startswith(PACKAGE):
            names |= for_annotations(module) | vars(module)
    return get_type_hints(of, names)


def for_annotations(module: ModuleType) -> dict[str, Any]:
    """What ``module`` imports below ``if TYPE_CHECKING``."""
    names: dict[str, Any] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body):
                code = compile(ast.Module(body, []), module.__name__, "exec")
                exec(code, {"__package__": module.__package__}, names)  # noqa: S102 - ours
    return names


def parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What has annotations in the public ``value``: itself, and all that it has of ours."""
    yield name, value
    if not isinstance(value, type):
        return
    for owner in value.__mro__:
        if not owner.__module__.startswith(PACKAGE):
            continue
        yield name, owner
        for part, found in vars(owner).items():
            if part.startswith("_") and part not in ("__init__", "__call__"):
                continue
            if part == "__init__" and dataclasses.is_dataclass(owner):
                continue  # made of the fields, which the class itself has
            function = getattr(found, "fget", None) or getattr(found, "__func__", found)
            if inspect.isfunction(function):
                yield f"{name}.{part}", function


def types_in(annotation: Any) -> Iterator[type]:
    """The types that an annotation is made of."""
    if isinstance(annotation, type):
        yield annotation
    # The arguments of a Callable are a list.
    for part in annotation if isinstance(annotation, list) else get_args(annotation):
        yield from types_in(part)


def hidden(names: dict[str, Any]) -> set[str]:
    """What appears in a signature or an attribute of ``names`` and is none of them."""
    return {
        f"{where}: {part.__module__}.{part.__qualname__}"
        for name, value in names.items()
        if callable(value) and (value.__module__ or "").startswith(PACKAGE)
        for where, annotated in parts(name, value)
        for annotation in hints(annotated).values()
        for part in types_in(annotation)
        if part.__module__.startswith(PACKAGE) and part not in names.values()
    }


PUBLIC = {
    name: getattr(module, name)
    for module in (flask_interaction_mail, testing, catcher)
    for name in module.__all__
}


def test_no_private_type_appears_in_a_public_signature() -> None:
    """Who writes an annotation, or compares with a word, finds each of them in one place."""
    assert hidden(PUBLIC) == set()


@pytest.mark.parametrize("lacking", ["MemoryTransport", "Right", "Encryption", "Reply", "Sender"])
def test_a_private_type_would_be_seen(lacking: str) -> None:
    """In a method, an alias, a field, an error and a function."""
    found = hidden({name: value for name, value in PUBLIC.items() if name != lacking})
    assert any(seen.endswith(f".{lacking}") for seen in found)


def test_each_public_name_stands_in_the_documentation() -> None:
    """On the page of functions, which says that what it does not name is private."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    assert [name for name in PUBLIC if not re.search(rf"[.`=]{name}\b", page)] == []


def test_a_right_is_its_word() -> None:
    """A host compares, looks up and formats it as the text that it was."""
    assert Right.VIEW == "view"
    assert Right.BODY in {"body", "view"}
    assert {"edit": 1}[Right.EDIT] == 1
    assert f"{Right.OUTBOX} {Right.TEST!s}" == "outbox test"
    old = ["view", "edit", "test", "outbox", "body", "resend"]
    assert [*Right] == [*old, "activity", "explain", "history", "purge"]


def test_a_reason_of_another_version_is_none() -> None:
    """A snapshot of what a newer version has stored can be made."""
    assert [Reason.stored(word) for word in ("rate", "bounced", None)] == [Reason.RATE, None, None]


def test_hints_name_what_is_imported_for_annotations_alone() -> None:
    """Otherwise the test above would look at nothing."""
    assert hints(InteractionMail.memory)["return"] is MemoryTransport
    assert "admin" in hints(InteractionMail.__init__)
    assert hints(Directory.current_user)
