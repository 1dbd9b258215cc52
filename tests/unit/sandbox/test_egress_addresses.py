"""A name leads to the public internet or nowhere: every address is judged, once, and none that hides another passes."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress.addresses import AddressRule, FencedResolver, guarded_socket, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "169.254.170.2", "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.192"),
        *("192.0.2.1", "192.168.1.1", "192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1"),
        *("239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"),
        *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:10::1", "2001:20::1"),
        *("2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254"),
        *("fe80::1", "fec0::1", "ff02::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not AddressRule().allows(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert AddressRule().allows(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f000001", "0177.0.0.1", "1.1.1.1 ", "fe80::1%lo", "::1%1"]
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert not AddressRule().allows(text)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_nothing_that_the_standard_library_knows_as_special_is_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    special = address.is_private or address.is_reserved or address.is_multicast or address.is_link_local
    if special or address.is_loopback or address.is_unspecified:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_carries_an_ipv4_address_past_the_rule(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for hidden in (
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
    ):
        assert not is_public(hidden)


def test_what_the_operator_denies_is_denied_even_where_private_addresses_are_allowed() -> None:
    rule = AddressRule(allow_private=True, extra_denied=(ipaddress.ip_network("127.0.0.2/32"),))
    assert rule.allows("127.0.0.1")
    assert not rule.allows("127.0.0.2")


def resolver(*answer: str, rule: AddressRule | None = None) -> FencedResolver:
    async def lookup(host: str, port: int) -> tuple[str, ...]:
        return answer

    return FencedResolver(lookup, rule or AddressRule(), 1)


async def test_one_private_address_among_public_ones_refuses_them_all() -> None:
    with pytest.raises(Denied) as refused:
        await resolver("1.1.1.1", "10.0.0.1").resolve("api.acme.com", 443)
    assert "10.0.0.1" not in refused.value.message
    assert "api.acme.com" in refused.value.message


async def test_the_addresses_that_were_judged_are_the_ones_that_are_connected_to() -> None:
    found = await resolver("1.1.1.1", "2606:4700::1111", "1.1.1.1").resolve("api.acme.com", 443)
    assert [(one["host"], one["port"], one["family"]) for one in found] == [
        ("1.1.1.1", 443, socket.AF_INET),
        ("2606:4700::1111", 443, socket.AF_INET6),
    ]
    assert all(one["flags"] & socket.AI_NUMERICHOST for one in found)


async def test_a_name_without_an_address_is_an_error_of_the_name() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolver().resolve("api.acme.com", 443)


def test_a_socket_for_an_address_that_is_not_public_is_never_made() -> None:
    with pytest.raises(PermissionError):
        guarded_socket(AddressRule())((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("fd12::5", True),
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.1.2.3", False),
    ],
)
def test_networks_of_the_operators_own_are_reached_and_metadata_is_not(address: str, allowed: bool) -> None:
    opened = ("10.1.0.0/16", "fd00::/8", "169.254.0.0/16", "100.64.0.0/10")
    rule = AddressRule(allowed=tuple(ipaddress.ip_network(text) for text in opened))
    assert rule.allows(address) is allowed


def test_what_is_denied_stays_denied_in_a_network_that_is_allowed() -> None:
    network, one = ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("10.0.0.7/32")
    rule = AddressRule(extra_denied=(one,), allowed=(network,))
    assert rule.allows("10.0.0.6")
    assert not rule.allows("10.0.0.7")


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "::ffff:0:a9fe:a9fe",
        "fd00:42::42",
        "169.254.169.254",
    ],
)
def test_no_form_of_a_metadata_address_is_opened_by_opening_everything(address: str) -> None:
    everything = tuple(ipaddress.ip_network(text) for text in ("::/0", "0.0.0.0/0"))
    assert not AddressRule(allowed=everything).allows(address)
    assert AddressRule(allowed=everything).allows("::1")
