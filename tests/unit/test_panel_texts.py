"""The texts of the panel's pages can be translated: none stands in a template as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from jinja2 import nodes

import flask_interaction_mail

PAGES = Path(flask_interaction_mail.__file__).parent / "templates" / "interaction_mail" / "admin"
SPOKEN = frozenset({"title", "aria-label", "placeholder", "alt", "label", "data-label"})
TRANSLATED = frozenset({"_gettext", "_ngettext"})
EXPRESSION = "\ue000"
# Words that are the same in every language.
NAMES = {
    "_fields.html": {"im-", "-help", "-origin", "-error", 'data-im-sign-in="'},  # of elements
    "coverage.html": {"example.com"},  # of a domain
    "message.html": {"Message-ID"},  # of a header field
    "_relays.html": {"backup"},  # the name of a relay
    "template.html": {"interaction_mail/mail/", ".*"},  # of a file
}


class Words(HTMLParser):
    """Collects what a page says: its texts, and the attributes that are read out or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.said += [value or "" for name, value in attrs if name in SPOKEN]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def written(node: nodes.Node) -> Iterator[str]:
    """The HTML of a template in its order, all branches, with a sign for each expression."""
    if isinstance(node, nodes.TemplateData):
        yield node.data
    elif isinstance(node, nodes.Output):
        for child in node.nodes:
            yield from written(child) if isinstance(child, nodes.TemplateData) else EXPRESSION
    else:
        for child in node.iter_child_nodes():
            yield from written(child)


def sentences(node: nodes.Node) -> Iterator[str]:
    """The texts in expressions that nothing translates and that begin like a sentence."""
    if isinstance(node, nodes.Call) and getattr(node.node, "name", "") in TRANSLATED:
        return
    if isinstance(node, nodes.Const) and re.match(r"[A-Z]\w* [a-z]", str(node.value)):
        yield node.value
    for child in node.iter_child_nodes():
        yield from sentences(child)


def untranslated(source: str) -> list[str]:
    """What a template says in English, whatever the reader's language is."""
    tree, page = jinja2.Environment(autoescape=True).parse(source), Words()
    page.feed("".join(written(tree)))
    page.close()
    words = " ".join(page.said).replace(EXPRESSION, " ").split()
    return [*(word for word in words if re.search("[A-Za-z]{2}", word)), *sentences(tree)]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.html")), ids=lambda page: page.name)
def test_every_text_of_a_page_can_be_translated(page: Path) -> None:
    """Its words stand in ``_gettext`` or ``_ngettext``, also those that are only read out."""
    assert set(untranslated(page.read_text("utf-8"))) <= NAMES.get(page.name, set())


@pytest.mark.parametrize(
    "source",
    [
        "<p>Saved {{ at }}</p>",
        "{% if x %}<b>{{ y }}</b>{% else %}nobody{% endif %}",
        '<input placeholder="any" name="kind">',
        '<nav{% if x %} class="wide"{% endif %} aria-label="Pages">{{ y }}</nav>',
        "{% set purpose = 'A message of yours.' %}",
        "{{ show(x, 'Nothing was sent') }}",
    ],
)
def test_a_text_that_is_not_marked_is_found(source: str) -> None:
    """In a text, in a branch, in an attribute and in an expression."""
    assert untranslated(source)


@pytest.mark.parametrize(
    "source",
    [
        "<p class='im-help'>{{ _gettext('Saved at %(time)s', time=at) }} – {{ value }}: 1</p>",
        '<nav aria-label="{{ _gettext("Pages") }}" class="wide">{{ y }}</nav>',
        "{{ _ngettext('One message', '%(count)s messages', n) }}{# A note. #}",
    ],
)
def test_a_text_that_is_marked_is_not_found(source: str) -> None:
    """And neither are names of classes, signs and comments."""
    assert not untranslated(source)
