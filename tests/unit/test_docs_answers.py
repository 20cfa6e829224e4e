"""The pages that answer questions: each answer leads somewhere, each situation has a proof."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What a host's developer asks first: a word of each question on the page "How do I …?".
QUESTIONS = (
    "attach files",
    "Cc and Bcc",
    "fails, what if it bounces",
    "later, and call it back",
    "links outside a request",
    "see what a message looks like",
    "translate",
    "ten thousand people",
    "check in tests",
    "it is alive",
    "upgrade",
    "several databases, a schema, a prefix",
    "Flask-Security",
    "gunicorn, gevent, --preload",
    "my provider, and several accounts",
    "rename or move the panel",
    "header fields",
    "find messages",
    "Content-Security-Policy, and frames",
    "develop without sending",
    "erase a person",
    "uninstall",
)
_REQUESTS = "integration/transaction_rule/test_requests.py"
_FAILURES = "integration/transaction_rule/test_failures.py"
# The tests that prove each situation of the page "What happens when …?".
PROOFS = {
    1: (("integration/test_delivery.py", "server_trouble_burns_no_attempt_and_opens_the_breaker"),),
    2: (
        (_REQUESTS, "an_unhandled_exception_in_a_view"),
        (_REQUESTS, "committed_before_the_failure_is_stored"),
    ),
    3: (("integration/test_merging.py", "r1_r4_a_denial_survives_every_end_of_the_request"),),
    4: (
        ("integration/test_merging.py", "ten_clicks_are_one_request"),
        ("security/test_rates.py", "t14_a_thousand_denials_are_ten_mails_and_one_digest"),
    ),
    5: (("integration/test_merging.py", "r31_a_group_without_an_address_means_the_default_to"),),
    6: (
        ("integration/test_sending.py", "r3_r4_before_configuration_nothing_is_sent"),
        (
            "integration/test_merging.py",
            "r4_while_unconfigured_the_request_is_kept_as_failed_and_sent_anew_on_resend",
        ),
    ),
    7: (("crash/test_faults.py", "a_wrong_password_waits_a_quarter_of_an_hour"),),
    8: (
        ("integration/test_docs_snippets.py", "a_receiver_hears_of_what_has_failed"),
        ("integration/test_returned.py", "a_report_marks_its_recipient_and_nobody_else"),
    ),
    9: (
        ("crash/test_random_kills.py", "random_kills_lose_nothing"),
        (
            "crash/test_web_processes.py",
            "a_web_process_killed_leaves_a_row_if_and_only_if_it_committed",
        ),
    ),
    10: (
        (_FAILURES, "nothing_is_given_up_while_the_database_is_away"),
        ("integration/test_away.py", "a_denial_is_stored_when_the_database_is_back"),
    ),
    11: (("integration/test_panel_form.py", "a_conflict_names_who_and_which_fields"),),
    12: (
        (
            "integration/test_panel_access.py",
            "a_login_that_has_ended_keeps_what_was_typed_until_the_next_one",
        ),
    ),
}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def sections(text: str, level: str) -> dict[str, str]:
    """What stands under each heading of this level."""
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@cache
def anchors(path: Path) -> frozenset[str]:
    """What a link to a section of this page can name, as GitHub and MyST make it."""
    text = path.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[*`]|\[|\]\([^)]*\)", "", one).strip().lower() for one in headings)
    named = re.findall(r"^\((\S+)\)=$", text, re.MULTILINE)
    return frozenset(named) | {re.sub(r"[^\w\- ]", "", one).replace(" ", "-") for one in plain}


def broken(text: str, folder: Path, own: Path) -> list[str]:
    """Links within the repository whose file or section is not there."""
    found = []
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = (folder / name).resolve() if name else own
        if not path.exists() or (anchor and anchor not in anchors(path)):
            found.append(target)
    return found


def test_each_question_is_answered_two_clicks_from_the_index() -> None:
    """The index leads to the questions, and each answer to a page, or it has the code itself."""
    assert "(howto.md)" in page("index.md")
    answers = sections(page("howto.md"), "###")
    for words in QUESTIONS:
        (question,) = [one for one in answers if words in one]
        assert re.search(r"\]\(\S+\)|^ *```", answers[question], re.MULTILINE), question
    assert len(answers) == len(QUESTIONS) == 22


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_each_link_leads_to_something_that_is_there(name: str) -> None:
    """Also to sections, which nobody sees break."""
    assert broken(page(name), DOCS, DOCS / name) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_each_link_at_the_top_leads_to_something_that_is_there(name: str) -> None:
    """These are read in the repository, which builds nothing."""
    assert broken((ROOT / name).read_text("utf-8"), ROOT, ROOT / name) == []


def test_each_situation_says_what_is_seen_and_is_proved() -> None:
    """Twelve of them, and each test that proves one exists."""
    situations = sections(page("what-happens.md"), "##")
    assert [int(one.partition(".")[0]) for one in situations] == list(PROOFS) == [*range(1, 13)]
    for text in situations.values():
        assert re.search(r"\*\*(The user|The second one|They) sees?\*\*|\*\*They see\*\*", text)
    for path, name in (proof for proofs in PROOFS.values() for proof in proofs):
        tests = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"^def test_{name}\(", tests, re.MULTILINE), name


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_each_link_has_words(name: str) -> None:
    """Only the built site would add the title of the page; in the repository one sees nothing."""
    assert re.findall(r"(?<!!)\[\]\([^)]*\)", page(name)) == []


def test_each_tab_of_the_panel_has_a_picture_on_its_page() -> None:
    """Which `make pictures` takes; a new tab needs one."""
    names = re.findall(r'^    "([\w-]+)": \("admin/', page("pictures.py"), re.MULTILINE)
    shown = "".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    for name in names:
        assert f"(pictures/{name}.png)" in shown, name
        assert {(DOCS / "pictures" / f"{name}{end}.png").exists() for end in ("", "-360")} == {True}
    tabs = re.findall(
        r'^    tab: \w+\[str\] = mark\("(.+)"\)$',
        "".join(
            path.read_text("utf-8") for path in (ROOT / "flask_interaction_mail/admin").glob("*.py")
        ),
        re.MULTILINE,
    )
    assert {"panel" if tab == "Settings" else tab.lower().replace(" ", "-") for tab in tabs} <= set(
        names
    )


def test_the_list_for_programs_has_every_page() -> None:
    """No page is left out of the index, but for the figures that belong to another page."""
    listed = re.findall(r"^- \[[^\]]+\]\(([\w-]+\.md)\)", page("llms.txt"), re.MULTILINE)
    left = {path.name for path in DOCS.glob("*.md")} - set(listed) - {"index.md"}
    assert {name for name in left if not name.endswith("-result.md")} == set()
