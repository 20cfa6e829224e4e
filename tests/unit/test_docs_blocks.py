"""Every block that a reader may copy is run by a test, or stands here with the reason why not."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from flask_interaction_mail.cli import main

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
RUN = ("python", "console", "sh", "html+jinja", "po", "ini", "yaml")
_BLOCK = re.compile(r"^( *)```(\S+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LONG = 5  # letters: a shorter text among the arguments of a call names no block

# Tests that take all blocks of a page, by what they find there.
WHOLE = {
    "docs/testing.md": "system/test_docs_testing.py",
    "docs/tutorial.md": "system/test_distribution.py",
    "docs/signatures.md": "unit/test_written_pages.py",
    "docs/postfix.md": "integration/test_docs_providers.py",
}
# Tests that find a block in a way of their own.
OTHERWISE = {
    ("docs/monitoring.md", "page_somebody"): "integration/test_alerts.py",
    ("docs/monitoring.md", "# verify.py"): "integration/test_webhook.py",
    ("docs/monitoring.md", "# rules.yml"): "integration/test_health_page.py",
    ("docs/settings.md", "__smtp_server="): "integration/test_docs_snippets.py",
    ("docs/settings.md", "__login="): "integration/test_docs_snippets.py",
    ("docs/oauth.md", "import msal"): "integration/test_docs_oauth.py",
    ("docs/oauth.md", "from google.auth"): "integration/test_docs_oauth.py",
    ("docs/many-people.md", "4711"): "integration/test_docs_snippets.py",
    ("docs/transactions.md", "key=f"): "integration/test_docs_snippets.py",
}
_INSTALLS = "it needs an index that has the package; the tutorial installs in the same way"
_SERVICE = "systemd or a broker runs it; tests/system/test_celery.py runs such workers"
# Blocks that no test runs, and why.
UNTRIED = {
    ("README.md", "install ./flask"): "the tutorial installs from the clone in the same way",
    (
        "README.md",
        "dist/flask_interaction_mail-*",
    ): "tests/system/test_distribution.py does so",
    ("README.md", "--index-url"): "the index is somebody's own",
    ("README.md", "../flask-interaction-mail aiosmtpd"): "as the tutorial, with another catcher",
    ("docs/quickstart.md", "install ./flask"): "the tutorial installs from the clone",
    ("docs/migrations.md", '[migrations]"'): _INSTALLS,
    ("docs/celery.md", "-A make_celery worker -Q mail --concurrency 2 --pre"): _SERVICE,
    ("docs/celery.md", "crm-mail-worker.service"): _SERVICE,
    ("docs/celery.md", "crm-beat.service"): _SERVICE,
    ("docs/celery.md", "inspect registered"): _SERVICE,
    ("docs/howto.md", "db downgrade base"): "tests/integration/test_migrations.py drops the tables",
    ("docs/languages.md", "pybabel compile"): "Babel's own command; a test compiles by its library",
    ("docs/languages.md", "pybabel init"): "Babel's own command",
    ("docs/migrations.md", "flask db migrate"): "tests/integration/test_migrations.py does it",
    ("docs/monitoring.md", "os.urandom"): "Python's own modules",
    ("docs/monitoring.md", "curl -H"): "curl is not ours; test_health_page.py asks the same",
    ("docs/monitoring.md", "# prometheus.yml"): "only Prometheus reads it",
    ("docs/oauth.md", "openssl req"): "OpenSSL's own command",
    (
        "docs/returned-mail.md",
        "#!/bin/sh",
    ): "a mail server runs it; test_returned.py runs the command",
    (
        "docs/releases.md",
        "sha256sum",
    ): "a release is built twice; test_distribution.py looks at SHA256SUMS",
    ("docs/scale.md", "python -m scale"): "a minute, and gigabytes",
}


def named_blocks(page: str) -> Iterator[tuple[str, str]]:
    """What can be copied from a page, with its language."""
    for _, language, text in _BLOCK.findall((ROOT / page).read_text("utf-8")):
        if language in RUN:
            yield language, text


@cache
def tried(page: str) -> frozenset[str]:
    """By what the tests find the blocks that they run: the texts that they look for on the page."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        source = path.read_text("utf-8")
        if page in source and path != Path(__file__):
            found.update(_looked_for(ast.parse(source), page))
    return frozenset(found)


def _looked_for(tree: ast.Module, page: str) -> Iterator[str]:
    # A file about one page names it once, and hands the texts to a function of its own.
    alone = any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and node.value.value == page
        for node in tree.body
    )
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            texts = [one.value for one in call.args if isinstance(one, ast.Constant)]
            if page in texts or alone:
                yield from (one for one in texts if isinstance(one, str) and len(one) >= _LONG)


def typed(block: str) -> list[str]:
    """The commands of a block for a shell, one for each, however many lines it has."""
    lines = block.replace("\\\n", " ").splitlines()
    if any(re.match(r" *\$ ", line) for line in lines):
        lines = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
    return [line.partition(" #")[0].strip() for line in lines if line.strip()]


def is_checked(line: str) -> bool:
    """Whether a test below looks at this command."""
    return " interaction-mail " in line or line.startswith("make ")


def of_shell() -> list[str]:
    """Every command that a page shows."""
    found = {
        line
        for page in PAGES
        for language, text in named_blocks(page)
        if language in ("console", "sh")
        for line in typed(text)
    }
    return sorted(found)


COMMANDS = [line for line in of_shell() if line.startswith("flask") and is_checked(line)]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_is_one_that_the_program_takes(line: str) -> None:
    """Its name, its arguments and its options; it is not run."""
    _, _, rest = line.partition("interaction-mail ")
    words = shlex.split(re.split(" [<>] ", rest)[0])
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context)
    command.make_context(command.name, words, parent=context)


def test_each_target_of_make_exists() -> None:
    """As a page tells to run it."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = [line for line in of_shell() if line.startswith("make ")]
    assert len(lines) > 5
    for line in lines:
        assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line


def test_each_block_is_run_or_has_a_reason() -> None:
    """A new one needs a test, as the page promises that it works."""
    left = [
        (page, text.splitlines()[0])
        for page in PAGES
        if page not in WHOLE
        for language, text in named_blocks(page)
        if not (language in ("console", "sh") and all(map(is_checked, typed(text))))
        and not any(one in text for one in tried(page))
        and not any(page == one and part in text for one, part in {**OTHERWISE, **UNTRIED})
    ]
    assert left == []


def test_each_reason_is_about_a_block_that_is_there() -> None:
    """One that is gone needs none."""
    for page, part in {**OTHERWISE, **UNTRIED}:
        found = [part in text for _, text in named_blocks(page)]
        assert found.count(True) == 1, (page, part)


def test_what_finds_blocks_in_its_own_way_is_there() -> None:
    """And names the page."""
    for page, test in [*WHOLE.items(), *((page, test) for (page, _), test in OTHERWISE.items())]:
        source = (ROOT / "tests" / test).read_text("utf-8")
        assert Path(page).stem in source, (page, test)
