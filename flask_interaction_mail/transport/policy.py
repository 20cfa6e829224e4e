"""Where a connection may go: one rule for delivery and for Test Settings alike.

Relays live at loopback and in private networks, so those are allowed. What no relay has, and
what would turn the test button into a scanner of the machine's surroundings, is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # "this" host and network (RFC 1122 §3.2.1.3)
            "169.254.0.0/16",  # link-local, and the metadata services of most clouds
            "192.0.0.192/32",  # metadata service of Oracle's older cloud
            "100.100.100.200/32",  # metadata service of Alibaba's
            "168.63.129.16/32",  # the platform's own services in Microsoft's
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "::/128",  # unspecified
            "fe80::/10",  # link-local
            "fec0::/10",  # site-local, given up (RFC 3879)
            "ff00::/8",  # multicast
            "fd00:ec2::/32",  # metadata service of Amazon's cloud
            "fd00:c1::a9fe:a9fe/128",  # of Oracle's
            "fd20:ce::254/128",  # of Google's
        ),
    )
)
_IPV4_WITHIN: Final = (
    ip_network("64:ff9b::/96"),  # NAT64 (RFC 6052 §2.1)
    ip_network("64:ff9b:1::/48"),  # NAT64 within a network (RFC 8215)
    ip_network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765 §2.1)
)
_COMPATIBLE: Final = ip_network("::/96")  # IPv4-compatible, given up (RFC 4291 §2.5.5.1)


class ConnectPolicy(NamedTuple):
    """Networks and ports that are denied beside those that always are."""

    deny: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset()

    def allows(self, address: str, port: int) -> bool:
        """Whether a connection to the numeric ``address`` at ``port`` may be made."""
        if port in self.ports:
            return False
        denied = (*_NEVER, *self.deny)
        return not any(
            face in network for face in _faces(ip_address(address)) for network in denied
        )


def _faces(address: Address) -> Iterator[Address]:
    """``address``, and the IPv4 address that it stands for in one of the transition schemes."""
    if isinstance(address, IPv4Address):
        yield address
        return
    yield IPv6Address(int(address))  # without its scope, which would hide it from a network
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    within = any(IPv6Address(int(address)) in network for network in _IPV4_WITHIN)
    if within or (IPv6Address(int(address)) in _COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
