"""The names under which the server is known, and the pages that may use it."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from fer_jax.errors import UserError

DEFAULT_PORTS = {"http": "80", "https": "443"}


class Origins:
    """Names and origins (RFC 6454) of a server."""

    def __init__(self, host: str, public: Iterable[str] = ()):
        """Take the name or address that it listens on, and the origins under which a proxy shows it.

        Raises:
          UserError: a public origin that is none.
        """
        self._public = frozenset(map(parse, public))
        self._names = {"localhost", host.lower(), *(urlsplit(origin).hostname for origin in self._public)}

    def is_own_name(self, host: str) -> bool:
        """Whether a request's Host header names this server, if only by its address in numbers.

        A foreign name that leads here is another site's page on its way to this machine (DNS rebinding).
        """
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ipaddress.ip_address(name))
        return False

    def may_connect(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may send requests: this server's own, as `host` names it, or a public one.

        A proxy may or may not pass on the name that the browser asked for, so a public origin fits any `host`.
        """
        return origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"} | self._public


def parse(origin: str) -> str:
    """An origin as browsers write it: lower case, without a default port; UserError for what is none."""
    match = re.fullmatch(r"(https?)://(\[[0-9a-f:.]+\]|[^][/?#@:*\s]+)(?::(\d+))?/?", origin.lower())
    if not match:
        raise UserError(
            f"--public-origin={origin}: expected a scheme, a name and a port unless it is the scheme's own, such as "
            "https://faces.example, without wildcards"
        )
    scheme, name, port = match.groups()
    return f"{scheme}://{name}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def reachable(host: str) -> str:
    """The part of an address that leads from this machine to what listens on `host`, such as 127.0.0.1 for 0.0.0.0."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"[{host}]" if ":" in host else host
