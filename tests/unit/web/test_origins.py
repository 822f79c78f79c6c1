"""Which pages may connect, behind a proxy too."""

import pytest

from fer_jax.errors import UserError
from fer_jax.web.origins import Origins, is_loopback, parse, reachable


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://faces.example", "https://faces.example"),
        ("https://Faces.Example:443/", "https://faces.example"),
        ("http://faces.example:80", "http://faces.example"),
        ("https://faces.example:8443", "https://faces.example:8443"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_do(written, origin):
    assert parse(written) == origin


@pytest.mark.parametrize(
    "written",
    [
        "faces.example",
        "https://",
        "",
        "ftp://faces.example",
        "https://faces.example/page",
        "https://a:b@c",
        "https://a:x",
        "https://*.example",
    ],
)
def test_what_is_no_origin_is_refused(written):
    with pytest.raises(
        UserError, match=r"--public-origin=.*: expected a scheme, a name and a port .*https://faces.example"
    ):
        Origins("localhost", [written])


def test_a_proxy_may_pass_on_either_name():
    origins = Origins("127.0.0.1", ["https://Faces.example"])
    for host in ("faces.example", "127.0.0.1:8765", "localhost:8765"):
        assert origins.is_own_name(host)
        assert origins.may_connect("https://faces.example", host)
        assert not origins.may_connect("https://elsewhere.example", host)
    assert not origins.may_connect("http://faces.example:8080", "127.0.0.1:8765"), "another port is another page"
    assert not origins.is_own_name("elsewhere.example")


def test_without_a_proxy_only_the_page_itself_may_connect():
    origins = Origins("0.0.0.0")
    assert origins.may_connect("http://192.168.0.7:8765", "192.168.0.7:8765")
    assert not origins.may_connect("https://faces.example", "127.0.0.1:8765")
    assert not origins.is_own_name("faces.example")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("camera.lan", False),
        ("192.168.0.7", False),
    ],
)
def test_addresses_that_only_this_machine_reaches(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "name"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("192.168.0.7", "192.168.0.7"), ("camera.lan",) * 2],
)
def test_the_printed_address_can_be_opened_on_this_machine(host, name):
    assert reachable(host) == name
