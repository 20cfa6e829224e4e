"""What DNS says of a domain, asked of a name server on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from flask_interaction_mail.domains.answers import Found
from flask_interaction_mail.domains.look import look
from flask_interaction_mail.domains.resolver import Resolver
from flask_interaction_mail.errors import AddressError
from tests.host import opened
from tests.servers import names
from tests.servers.names import NameServer, name_server
from tests.terminal import done, run

FIRM = "firm.example"


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


def resolver(server: NameServer, within: float = 30) -> Resolver:
    return Resolver(within, [("127.0.0.1", server.port)])


def test_a_record_in_pieces_is_one_text(server: NameServer):
    """The strings of a TXT record are joined without a blank (RFC 7208 §3.3)."""
    server.add(FIRM, 'TXT "v=spf1 include:_s" "pf.firm.example -all"', 'TXT "other"')
    answer = resolver(server).ask("FIRM.example.", "TXT")
    assert answer.found is Found.RECORDS
    assert set(answer.records) == {"v=spf1 include:_spf.firm.example -all", "other"}


def test_what_records_look_like(server: NameServer):
    """MX with its number, addresses as they are, the root as a dot."""
    server.add(FIRM, "MX 10 Mail.Firm.Example.", "A 192.0.2.1", "AAAA 2001:db8::1")
    server.add("no.example", "MX 0 .")
    ask = resolver(server).ask
    assert ask(FIRM, "MX").records == ("10 mail.firm.example",)
    assert ask(FIRM, "A").records == ("192.0.2.1",)
    assert ask(FIRM, "AAAA").records == ("2001:db8::1",)
    assert ask("no.example", "MX").records == ("0 .",)


def test_no_name_no_data_and_no_answer_are_three_things(server: NameServer):
    """Only the first two say that there is no record."""
    server.add(FIRM, "A 192.0.2.1")
    server.add("below.deep.example", "A 192.0.2.1")
    server.faults |= {
        "servfail.example": names.SERVFAIL,
        "refused.example": names.REFUSED,
        "formerr.example": names.rcode(dns.rcode.FORMERR),
        "silent.example": names.silent,
        "garbled.example": names.garbled,
    }
    found = {
        name: (answer.found, answer.problem)
        for name in (FIRM, "deep.example", "none.example", *server.faults)
        for answer in [resolver(server, within=1.2).ask(name, "TXT")]
    }
    assert found == {
        FIRM: (Found.NO_DATA, ""),
        "deep.example": (Found.NO_DATA, ""),
        "none.example": (Found.NO_NAME, ""),
        "servfail.example": (Found.UNKNOWN, "SERVFAIL"),
        "refused.example": (Found.UNKNOWN, "REFUSED"),
        "formerr.example": (Found.UNKNOWN, "FORMERR"),
        "silent.example": (Found.UNKNOWN, "no answer in time"),
        "garbled.example": (Found.UNKNOWN, "no answer in time"),
    }


def test_a_cut_answer_is_asked_for_again_by_tcp(server: NameServer):
    """A large answer arrives whole."""
    texts = [f"{at} {'x' * 200}" for at in range(20)]
    server.add(FIRM, *(f'TXT "{text}"' for text in texts))
    assert set(resolver(server).ask(FIRM, "TXT").records) == set(texts)
    assert [protocol for protocol, _, _ in server.asked] == ["udp", "tcp"]


def test_an_answer_that_is_larger_than_any_real_one_is_not_read(server: NameServer):
    """By the number of its records, and by their length."""
    server.add("many.example", *(f'TXT "{at}"' for at in range(257)))
    server.add("long.example", *(f'TXT "{at} {"x" * 240}"' for at in range(80)))
    ask = resolver(server).ask
    assert ask("many.example", "TXT").problem == "more than 256 records"
    assert ask("long.example", "TXT").problem == "more than 16384 characters"


def test_aliases_are_followed(server: NameServer):
    """By the server or, where it answers with the alias alone, by us; circles end."""
    server.add("one.example", "CNAME two.example.")
    server.add("two.example", "CNAME three.example.")
    server.add("three.example", 'TXT "here"')
    server.add("gone.example", "CNAME nowhere.example.")
    server.add("left.example", "CNAME right.example.")
    server.add("right.example", "CNAME left.example.")
    server.faults["alone.example"] = lambda query: alias(query, "one.example.")
    server.faults["there.example"] = lambda query: alias(query, "back.example.")
    server.faults["back.example"] = lambda query: alias(query, "there.example.")
    ask = resolver(server).ask
    assert ask("one.example", "TXT").records == ("here",)
    assert ask("alone.example", "TXT").records == ("here",)
    assert ask("gone.example", "TXT").found is Found.NO_NAME
    assert ask("left.example", "TXT").found is Found.UNKNOWN
    assert ask("there.example", "TXT").problem == "too many aliases"


def alias(query: dns.message.Message, target: str) -> bytes:
    """An answer that holds an alias, and not what it leads to."""
    response = dns.message.make_response(query)
    name = query.question[0].name
    response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", target))
    return response.to_wire()


@pytest.mark.parametrize(
    "name", ["a..example", "stra\u00dfe.example", f"{'x' * 64}.example", ".".join(["x" * 60] * 5)]
)
def test_a_name_that_cannot_be_asked_for_is_not_asked_for(server: NameServer, name: str):
    """And is not turned into another one, as ``straße`` into ``strasse``."""
    assert resolver(server).ask(name, "TXT").found is Found.UNKNOWN
    assert server.asked == []


def test_a_backslash_in_a_name_is_a_backslash(server: NameServer):
    """dnspython's own reading would make one label of ``a\\.b``."""
    resolver(server).ask(r"a\.b.example", "TXT")
    assert server.asked == [("udp", r"a\\.b.example", "TXT")]


def test_bytes_that_are_no_text_stay_harmless(server: NameServer):
    """They are replaced, so that the rules find them wrong instead of failing."""
    server.add(FIRM, r'TXT "v=spf1 a:\200\254.example \000\027[31m -all"')
    server.add("mail.firm.example", "A 192.0.2.1")
    report = look(FIRM, name_servers=[("127.0.0.1", server.port)])
    assert [one.code for one in report.spf.findings] == ["spf_syntax"]
    assert report.spf.findings[0].text.isprintable()


def test_nothing_is_asked_twice(server: NameServer):
    """A list that leads to one name ten times costs one question."""
    ask = resolver(server).ask
    assert ask(FIRM, "TXT") is ask("Firm.Example.", "TXT")
    assert len(server.asked) == 1


def test_questions_end(server: NameServer):
    """However many names a stranger's record holds."""
    ask = resolver(server).ask
    answers = [ask(f"n{at}.example", "TXT") for at in range(130)]
    assert [answer.found for answer in answers].count(Found.UNKNOWN) == 10
    assert len(server.asked) == 120


@pytest.mark.parametrize("fault", [names.silent, names.garbled])
def test_one_deadline_for_everything(server: NameServer, fault: names.Fault):
    """A name service that never answers costs what was allowed, not that for each question."""
    for name in (FIRM, "_dmarc.firm.example", "_dmarc.example"):
        server.faults[name] = fault
    begin = time.monotonic()
    report = look(FIRM, name_servers=[("127.0.0.1", server.port)], within=3)
    assert time.monotonic() - begin < 3.2
    codes = [one.code for one in report.findings]
    assert codes == ["mx_unknown", "spf_unknown", "dkim_unknown", "dmarc_unknown"]


def test_another_name_server_is_asked_if_the_first_is_silent(server: NameServer):
    """In the order of the configuration."""
    with name_server() as silent:
        silent.faults[FIRM] = names.silent
        server.add(FIRM, "A 192.0.2.1")
        both = [("127.0.0.1", silent.port), ("127.0.0.1", server.port)]
        assert Resolver(30, both).ask(FIRM, "A").records == ("192.0.2.1",)


def test_a_wildcard_is_no_key_and_no_rule(server: NameServer):
    """A text that answers for every name is neither DKIM nor DMARC."""
    server.add(FIRM, 'TXT "v=spf1 -all"', "MX 10 mail.firm.example.")
    server.add("mail.firm.example", "A 192.0.2.1")
    server.add("*.firm.example", 'TXT "v=spf1 -all"')
    report = look(FIRM, name_servers=[("127.0.0.1", server.port)])
    codes = [one.code for one in report.findings]
    assert codes == ["mx_fine", "spf_fine", "dkim_no_selector", "dmarc_none"]


def test_what_is_no_domain_is_refused(server: NameServer):
    """Before anything is asked."""
    with pytest.raises(AddressError):
        look("firm example", name_servers=[("127.0.0.1", server.port)])
    assert server.asked == []


# The command


def whole(server: NameServer) -> None:
    """A domain of which everything is fine."""
    server.add(FIRM, "MX 10 mail.firm.example.", 'TXT "v=spf1 include:_spf.google.com -all"')
    server.add("mail.firm.example", "A 192.0.2.1")
    server.add("_spf.google.com", 'TXT "v=spf1 ip4:192.0.2.0/24 -all"')
    key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="  # of RFC 8463, appendix A.2
    server.add("google._domainkey.firm.example", f'TXT "v=DKIM1; k=ed25519; p={key}"')
    server.add("_dmarc.firm.example", 'TXT "v=DMARC1; p=reject"')


SETTINGS = ("--smtp-server", "smtp-relay.gmail.com", "--default-to", "desk@firm.example")
SETTINGS += ("--default-from", "crm@firm.example")


def test_the_command_tells_what_is_fine(server: NameServer, tmp_path: Path):
    """By default of the default From's domain; the status is 0 if there is nothing to do."""
    whole(server)
    with opened(
        f"sqlite:///{tmp_path}/host.sqlite",
        INTERACTION_MAIL_NAME_SERVERS=f"127.0.0.1:{server.port}",
    ) as host:
        done(host, "settings", "set", *SETTINGS)
        said = done(host, "domain")
        assert [line.partition(":")[0] for line in said.out.splitlines()] == [
            "[fine] MX",
            "[fine] SPF",
            "[fine] SPF",
            "[fine] DKIM",
            "[fine] DMARC",
        ]
        told = done(host, "domain", FIRM, "--selector", "google", "--json").json
    assert told["provider"] == "Google Workspace"
    assert (told["dmarc_policy"], told["spf_lookups"]) == ("reject", 1)
    assert {one["kind"] for one in told["findings"]} == {"fine"}


def test_the_command_shows_the_record_to_add(server: NameServer, tmp_path: Path):
    """The status is 1, and a record is written as a zone file has it."""
    whole(server)
    del server.zone["_dmarc.firm.example"]
    server.zone[FIRM] = ["MX 10 mail.firm.example.", f'TXT "v=spf1 {"ip4:192.0.2.1 " * 16}-all"']
    with opened(
        f"sqlite:///{tmp_path}/host.sqlite",
        INTERACTION_MAIL_NAME_SERVERS=[f"127.0.0.1:{server.port}"],
    ) as host:
        done(host, "settings", "set", *SETTINGS)
        said = run(host, "domain")
        assert run(host, "domain", "firm example").status == 1
    assert (said.status, said.err) == (1, f"Error: Not everything is fine with {FIRM}.\n")
    lines = said.out.splitlines()
    assert any(line.startswith("[missing] DMARC: firm.example does not say") for line in lines)
    assert '    _dmarc.firm.example. TXT "v=DMARC1; p=none; rua=mailto:dmarc@firm.example"' in lines
    (mended,) = (line for line in lines if "include:_spf.google.com ip4" in line)
    pieces = mended.partition(' TXT "')[2].removesuffix('"').split('" "')
    assert len(pieces) == 2
    assert max(map(len, pieces)) <= 255
    assert "".join(pieces).endswith("-all")
