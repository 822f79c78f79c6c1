"""Under which names the server is known, and from which pages a browser may connect to it."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from fer_jax.errors import UserError

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class Origins:
    """Names and origins (RFC 6454) of this server.

    Attributes:
      names: host names in lower case; addresses in numbers are always known.
      public: origins of a proxy in front of this server, normalised, such as "https://faces.example".
    """

    names: frozenset[str]
    public: frozenset[str] = frozenset()

    @classmethod
    def of(cls, host: str, public: Iterable[str] = ()) -> Origins:
        """The origins of a server.

        Args:
          host: name or address that it listens on.
          public: origins under which a proxy shows it, as users write them.

        Raises:
          UserError: a public origin that is none.
        """
        origins = frozenset(parse(origin) for origin in public)
        names = {urlsplit(origin).hostname or "" for origin in origins}
        return cls(frozenset(names | {"localhost", host.lower()}), origins)

    def is_own_name(self, host: str) -> bool:
        """Whether a request's Host header names this server.

        A foreign name that leads here is a page of others on its way to this machine (DNS rebinding).
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return _is_address(name) or name in self.names

    def may_connect(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may open the WebSocket: this server's own, as `host` names it, or a public one.

        A proxy may or may not pass on the name that the browser asked for, so a public origin fits any `host`.
        """
        own = (f"{scheme}://{host.lower()}" for scheme in DEFAULT_PORTS)
        return origin.lower() in own or origin.lower() in self.public


def parse(origin: str) -> str:
    """An origin as browsers write it: lower case, without a default port; UserError for what is none."""
    try:
        parts = urlsplit(origin)
        scheme, name, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, name, port = "", None, None
        parts = urlsplit("")
    if (
        scheme not in DEFAULT_PORTS
        or not name
        or parts.username
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or "*" in name
    ):
        raise UserError(
            f"--public-origin={origin}: expected scheme, name and port if it is not the scheme's own, such as "
            "https://faces.example; there are no wildcards"
        )
    name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
