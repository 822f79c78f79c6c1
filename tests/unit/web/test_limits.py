"""Clients that never finish a message, and addresses with too many connections, over real sockets."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, WSMsgType

from fer_jax.web import server
from fer_jax.web.limits import Limits

PATIENCE_SECONDS = 60
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.asynccontextmanager
async def _listening(analyzer, **limits):
    app = server.application(analyzer, limits=Limits(**limits))
    async with server.listening(app, "127.0.0.1", 0) as address:
        yield urlsplit(address).port, address


def _run(test):
    asyncio.run(asyncio.wait_for(test, PATIENCE_SECONDS))


async def _rest(reader):
    """What still comes until the connection is closed."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            received += data
    return received


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST, REQUEST + b"X: " + b"y" * 500], ids=len)
def test_a_request_that_does_not_arrive_is_closed(analyzer, sent):
    async def test():
        async with _listening(analyzer, request_seconds=0.05) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert await _rest(reader) == b""

    _run(test())


def test_a_kept_connection_is_closed_when_its_next_request_does_not_arrive(analyzer):
    async def test():
        async with _listening(analyzer, request_seconds=0.2) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(2 * (REQUEST + b"\r\n") + REQUEST[:5])
            assert (await _rest(reader)).count(b"HTTP/1.1 200") == 2

    _run(test())


@contextlib.asynccontextmanager
async def _socket(address, **kwargs):
    async with (
        ClientSession() as session,
        session.ws_connect(f"{address}socket", origin=address.rstrip("/"), **kwargs) as connection,
    ):
        yield connection


def test_an_idle_page_stays_connected(analyzer):
    limits = {"request_seconds": 0.05, "message_seconds": 0.4, "heartbeat_seconds": 0.1}

    async def test():
        async with _listening(analyzer, **limits) as (_, address), _socket(address) as connection:
            assert (await connection.receive()).data.startswith('{"hello"')
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # in which it answers pings
                    assert not await connection.receive()
            await connection.send_str("?")
            assert (await connection.receive()).data.startswith('{"refused"')

    _run(test())


@pytest.mark.parametrize("drips", [False, True])
def test_a_client_that_answers_no_ping_or_never_ends_its_frame_is_closed(analyzer, drips):
    limits = {"message_seconds": 0.3, "heartbeat_seconds": 10 if drips else 0.1}

    async def test():
        async with _listening(analyzer, **limits) as (_, address), _socket(address, autoping=False) as connection:
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

    _run(test())


def test_an_address_holds_so_many_connections_and_others_are_served(analyzer):
    async def test():
        async with _listening(analyzer, address=3) as (port, _):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            surplus, _ = await asyncio.open_connection("127.0.0.1", port)
            other, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            assert await _rest(surplus) == b""
            for reader, sender in (*held, (other, writer)):
                sender.write(REQUEST + b"\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    _run(test())
