"""Writes ``signatures.md``: the reference as it can be read without building the documentation.

It has what ``api.md`` lists, in the same order and under the same headings, taken from the source.

    python docs/signatures.py     write the page
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
PAGE = HERE / "signatures.md"
REFERENCE = HERE / "api.md"
HEAD = """# Signatures

For developers: every function and class of [the reference](api.md) as it stands in the source, to
read in the repository or in an editor. The reference explains more, and has the signals.
`make signatures` writes this page.
"""
_LINE = re.compile(
    r"^(?P<heading>##+ .*)$"
    r"|^\.\. auto(?:class|exception|function|data):: (?P<name>\S+)$"
    r"|^   :members:(?P<members>.*)$",
    re.MULTILINE,
)


def page() -> str:
    """The text of ``signatures.md``."""
    parts, block = [HEAD], []
    for heading, name, members in _listed():
        if heading:
            parts += [_python(block), f"\n{heading}\n"]
            block = []
        else:
            block.append(_described(name, members))
    return "".join([*parts, _python(block)])


def _listed() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Each heading and name of the reference, with the members that it shows if it lists any."""
    found = list(_LINE.finditer(REFERENCE.read_text("utf-8")))
    for line, after in zip(found, [*found[1:], None], strict=True):
        if line["heading"] or line["name"]:
            members = (after and after["members"]) or ""
            listed = frozenset(filter(None, re.split(r"[, ]+", members)))
            yield line["heading"] or "", line["name"] or "", listed


def _python(block: list[str]) -> str:
    return "\n```python\n" + "\n\n\n".join(block) + "\n```\n" if block else ""


def _described(name: str, members: frozenset[str]) -> str:
    """The source of ``name`` without what it does."""
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    if inspect.isclass(found):
        return _class(found, members)
    if inspect.isfunction(found):
        source, tree = _parsed(inspect.unwrap(found))
        return _function(tree.body[0], source)
    return _constant(attribute, importlib.import_module(module))


def _constant(name: str, module: ModuleType) -> str:
    return f"{name}: {type(getattr(module, name)).__name__}"


def _class(found: type, members: frozenset[str]) -> str:
    source, tree = _parsed(found)
    definition = tree.body[0]
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{found} is no class in its source")
    shown = [node for node in definition.body if _is_shown(node, members)]
    lines = [_head(definition, source), *_text(definition)]
    if shown and not isinstance(shown[0], ast.FunctionDef):
        lines.append("")
    return "\n".join([*lines, *(_member(node, source) for node in shown)])


def _is_shown(node: ast.stmt, members: frozenset[str]) -> bool:
    """Whether a statement of a class defines what the reference shows."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if members and node.name != "__init__":
            return node.name in members
        return node.name == "__init__" or (node.name[0] != "_" and bool(ast.get_docstring(node)))
    if isinstance(node, ast.AnnAssign | ast.Assign):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        # What follows ``_: KW_ONLY`` is given by its name alone.
        return isinstance(target, ast.Name) and (target.id == "_" or target.id[0] != "_")
    return False


def _member(node: ast.stmt, source: str) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "\n" + textwrap.indent(_function(node, source), "    ")
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        # How a default is made is nobody's business.
        return f"    {ast.unparse(node.target)}: {ast.unparse(node.annotation)} = ..."
    return textwrap.indent(ast.get_source_segment(source, node) or "", "    ")


def _function(node: ast.stmt, source: str) -> str:
    """The head as it is written, the docstring, and no body."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise TypeError(f"{ast.dump(node)} is no function")
    text = _text(node)
    head = _head(node, source)
    return "\n".join([head, *text]) if text else f"{head} ..."


def _head(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, source: str) -> str:
    """From the first decorator to the colon."""
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    lines = source.splitlines()[first - 1 : node.body[0].lineno - 1]
    if node.body[0].lineno == node.lineno:  # all on one line
        lines = [source.splitlines()[node.lineno - 1].partition(": ...")[0] + ":"]
    return textwrap.dedent("\n".join(line for line in lines if line.strip())).rstrip()


def _text(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[str]:
    text = ast.get_docstring(node)
    if text is None:
        return []
    end = "\n" if "\n" in text else ""
    return [textwrap.indent(f'"""{text}{end}"""', "    ", lambda line: bool(line.strip()))]


def _parsed(thing: object) -> tuple[str, ast.Module]:
    source = textwrap.dedent(inspect.getsource(thing))  # type: ignore[arg-type]
    return source, ast.parse(source)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
