"""Connections that never finish a request, and too many of them, over real sockets."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from fer_jax.web import server
from fer_jax.web.connections import Limits

PATIENCE_SECONDS = 60
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.asynccontextmanager
async def _listening(classifier, **limits):
    app = server.application(classifier, limits=Limits(**limits))
    async with server.listening(app, "127.0.0.1", 0) as address:
        yield urlsplit(address).port, address


def _run(test):
    asyncio.run(asyncio.wait_for(test, PATIENCE_SECONDS))


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST, REQUEST + b"X: " + b"y" * 500], ids=len)
def test_a_connection_that_does_not_finish_its_request_is_closed(classifier, sent):
    async def test():
        async with _listening(classifier, request_seconds=0.05) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b"", "no answer to half a request"

    _run(test())


def test_a_connection_that_is_kept_for_more_requests_is_closed_in_the_end(classifier):
    async def test():
        async with _listening(classifier, request_seconds=0.2) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(2 * (REQUEST + b"\r\n"))
            writer.write(REQUEST[:5])
            received = b""
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    received += data
            assert received.count(b"HTTP/1.1 200") == 2

    _run(test())


def test_a_websocket_is_no_unfinished_request(classifier):
    async def test():
        async with (
            _listening(classifier, request_seconds=0.05) as (_, address),
            ClientSession() as session,
            session.ws_connect(f"{address}socket", origin=address.rstrip("/")) as connection,
        ):
            assert (await connection.receive()).data.startswith('{"hello"')
            closed = asyncio.create_task(_until_closed(address))
            await closed  # a connection that was opened later has had its time
            await connection.send_str("?")
            assert (await connection.receive()).data.startswith('{"refused"')

    async def _until_closed(address):
        reader, _ = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    _run(test())


def test_a_client_that_answers_no_ping_is_gone(classifier):
    async def test():
        async with (
            _listening(classifier, heartbeat_seconds=0.1) as (_, address),
            ClientSession() as session,
            session.ws_connect(f"{address}socket", origin=address.rstrip("/"), autoping=False) as connection,
        ):
            while not (await connection.receive()).type.name.startswith("CLOS"):
                pass

    _run(test())


def test_one_connection_too_many_is_told_and_the_next_is_served_when_one_is_gone(classifier):
    async def test():
        async with _listening(classifier, connections=3) as (port, _):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            held[0][1].write(REQUEST + b"\r\n")
            assert (await held[0][0].readline()).startswith(b"HTTP/1.1 200"), "all are accepted once one is answered"
            reader, _ = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            held[1][1].close()
            await held[1][1].wait_closed()
            status = b"HTTP/1.1 503 "
            while status.startswith(b"HTTP/1.1 503"):  # until the server has noticed
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(REQUEST + b"\r\n")
                with contextlib.suppress(ConnectionError):
                    status = await reader.readline()
            assert status.startswith(b"HTTP/1.1 200")

    _run(test())
