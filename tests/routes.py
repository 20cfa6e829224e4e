"""What builds the URLs of a rule, compiled once for a run: each test has an application of its own.

That took a tenth of the time of a test of the panel, which has forty rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule

_compile = Rule._compile_builder
_made: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}


def share_builders() -> None:
    """Have equal rules share a function, which finds the converters in the rule that calls it."""
    Rule._compile_builder = _shared  # type: ignore[method-assign]


def _shared(rule: Rule, append_unknown: bool = True) -> Any:
    key = (rule.rule, *rule._trace, repr(rule.defaults), append_unknown)
    if key not in _made:
        _made[key] = _compile(rule, append_unknown)
    return _made[key]
