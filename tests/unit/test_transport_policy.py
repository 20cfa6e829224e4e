"""Where a connection may go (T2)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.connect import is_full_name, literal, own_name


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "::",
        "fe80::1",
        "fe80::1%1",
        "ff02::1",
        "fec0::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "::ffff:0:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "168.63.129.16",
        "fd00:c1::a9fe:a9fe",
        "fd20:ce::254",
    ],
)
def test_no_mail_server_is_there(address):
    """Link-local, metadata, unspecified, multicast and reserved, in every spelling."""
    assert not ConnectPolicy().allows(address, 25)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd12:3456::1", "192.0.2.1", "2001:db8::1"],
)
def test_relays_live_there(address):
    """Loopback and private networks are allowed."""
    assert ConnectPolicy().allows(address, 25)


def test_networks_and_ports_can_be_denied():
    """The installation may be stricter."""
    policy = ConnectPolicy(deny=(ip_network("10.0.0.0/8"),), ports=frozenset({22}))
    assert not policy.allows("10.1.2.3", 25)
    for spelled in ("::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"):
        assert not policy.allows(spelled, 25)
    assert not policy.allows("192.0.2.1", 22)
    assert policy.allows("192.0.2.1", 25)


@pytest.mark.parametrize("name", ["mx.example.com", "a-b.c1.test", "host.corp.local"])
def test_full_names_are_good_for_ehlo(name):
    """At least two labels."""
    assert is_full_name(name)


@pytest.mark.parametrize(
    "name", ["localhost", "localhost.localdomain", "host", "10.0.0.1", "a_b.test", "x." * 130, ""]
)
def test_other_names_are_not(name):
    """Strict servers refuse them."""
    assert not is_full_name(name)


def test_the_name_for_ehlo_is_the_configured_one_first():
    """And in the end an address literal (RFC 5321 section 4.1.3)."""
    assert own_name("mx.x.test", "y.test", "127.0.0.1") == "mx.x.test"
    assert literal("127.0.0.1") == "[127.0.0.1]"
    assert literal("::1") == "[IPv6:::1]"
