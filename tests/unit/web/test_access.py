"""Who may use the server, and for how long."""

import asyncio
import contextlib

import pytest
from aiohttp import ClientSession, WSMsgType

from fer_jax.errors import UserError
from fer_jax.web.access import Origins, is_loopback, parse_origin, reachable
from tests.unit.web.conftest import listening

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def _rest(reader):
    """What still comes until the connection is closed."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            received += data
    return received


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST, REQUEST + b"X: " + b"y" * 500], ids=len)
async def test_a_request_that_does_not_arrive_is_closed(analyzer, sent):
    async with listening(analyzer, request_seconds=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await _rest(reader) == b""


async def test_a_kept_connection_is_closed_when_its_next_request_does_not_arrive(analyzer):
    async with listening(analyzer, request_seconds=0.2) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(2 * (REQUEST + b"\r\n") + REQUEST[:5])
        assert (await _rest(reader)).count(b"HTTP/1.1 200") == 2


@contextlib.asynccontextmanager
async def _socket(address, **kwargs):
    async with (
        ClientSession() as session,
        session.ws_connect(f"{address}socket", origin=address.rstrip("/"), **kwargs) as connection,
    ):
        yield connection


async def test_an_idle_page_stays_connected(analyzer):
    limits = {"request_seconds": 0.05, "message_seconds": 0.4, "heartbeat_seconds": 0.1}
    async with listening(analyzer, **limits) as (_, address), _socket(address) as connection:
        assert (await connection.receive()).data.startswith('{"hello"')
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # in which it answers pings
                assert not await connection.receive()
        await connection.send_str("?")
        assert (await connection.receive()).data.startswith('{"refused"')


@pytest.mark.parametrize("drips", [False, True])
async def test_a_client_that_answers_no_ping_or_never_ends_its_frame_is_closed(analyzer, drips):
    limits = {"message_seconds": 0.3, "heartbeat_seconds": 10 if drips else 0.1}
    async with listening(analyzer, **limits) as (_, address), _socket(address, autoping=False) as connection:
        transport = connection._response.connection.transport

        async def drip():
            transport.write(b"\x82\xfe\x03\xe8mask")  # a binary message of 1,000 bytes
            while True:
                transport.write(b".")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip()) if drips else None
        while (await connection.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
            pass
        if dripping:
            dripping.cancel()


async def test_an_address_holds_so_many_connections_and_others_are_served(analyzer):
    async with listening(analyzer, address=3) as (port, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        surplus, _ = await asyncio.open_connection("127.0.0.1", port)
        other, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        assert await _rest(surplus) == b""
        for reader, sender in (*held, (other, writer)):
            sender.write(REQUEST + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://faces.example", "https://faces.example"),
        ("https://Faces.Example:443/", "https://faces.example"),
        ("http://faces.example:80", "http://faces.example"),
        ("https://faces.example:8443", "https://faces.example:8443"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        *[(f"{scheme}faces.example", None) for scheme in ("", "ftp://")],
        *[(f"https://{rest}", None) for rest in ("", "faces.example/page", "a:b@c", "a:x", "*.example")],
        ("", None),
    ],
)
def test_an_origin_is_written_as_browsers_do(written, origin):
    if origin:
        assert parse_origin(written) == origin
        return
    with pytest.raises(UserError, match=r"--public-origin=.*: expected a scheme, a name and a port .*https://faces"):
        Origins("localhost", [written])


def test_a_proxy_may_pass_on_either_name_and_without_one_only_the_page_itself_may_connect():
    origins = Origins("127.0.0.1", ["https://Faces.example"])
    for host in ("faces.example", "127.0.0.1:8765", "localhost:8765"):
        assert origins.is_own_name(host)
        assert origins.may_connect("https://faces.example", host)
        assert not origins.may_connect("https://elsewhere.example", host)
    assert not origins.may_connect("http://faces.example:8080", "127.0.0.1:8765"), "another port is another page"
    origins = Origins("camera.lan")
    for host in ("localhost:8765", "[::1]:80", "192.168.0.7:8765", "Camera.Lan:1"):
        assert origins.is_own_name(host)
        assert origins.may_connect(f"http://{host}", host)
        assert not origins.may_connect("https://faces.example", host)
    for host in ("faces.example", "rebound.example:8765", "127.0.0.1.example", "[::1", ""):
        assert not origins.is_own_name(host)


@pytest.mark.parametrize(
    ("host", "name", "loopback"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("0.0.0.0", "127.0.0.1", False),
        ("::", "[::1]", False),
        ("::1", "[::1]", True),
        ("192.168.0.7", "192.168.0.7", False),
        ("camera.lan", "camera.lan", False),
    ],
)
def test_the_printed_address_can_be_opened_on_this_machine(host, name, loopback):
    assert (reachable(host), is_loopback(host)) == (name, loopback)
