"""The one place where a connection is made: resolve, judge, connect, in this order and only here.

The address is judged at connect time and the socket is connected to that very address, so a name
that answers differently the next time (DNS rebinding) gains nothing. The name stays for the Host
header, for SNI and for the certificate. A connection that is used again is one that was judged.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from urllib3.util import wait_for_read

from consumer.errors import ConnectFailed, TlsFailed, UrlBlocked
from consumer.fetching.addresses import Address, AddressPolicy, machine_at
from consumer.fetching.deadline import Deadline
from consumer.fetching.http1 import AnswerReader, Head
from consumer.fetching.own import OwnEndpoints
from consumer.fetching.resolver import Resolver
from consumer.fetching.urls import Target
from consumer.fetching.wire import BoundedSocket

MOST_ADDRESSES = 4
"""Addresses of one name that are tried, one after the other; all of them are judged."""


class Guard:
    """Makes connections to judged addresses."""

    def __init__(self, policy: AddressPolicy, own: OwnEndpoints, resolver: Resolver, tls: ssl.SSLContext) -> None:
        self._policy = policy
        self._own = own
        self._resolver = resolver
        self._tls = tls

    def connect(self, target: Target, deadline: Deadline) -> tuple[BoundedSocket, Address]:
        """A connected socket, TLS included, and the address that it is connected to.

        Raises:
            UrlBlocked: one of the host's addresses may not be connected to; one is enough, for who
                mixes public and private addresses under a name is up to something.
            DnsFailed, ConnectFailed, TlsFailed, FetchTimeout: as their names say.
        """
        plain, address = _connect(self._judged(target, deadline), target.port, deadline)
        if target.scheme == "http":
            return plain, address
        try:
            plain.settimeout(deadline.remaining())  # of the handshake as a whole, OpenSSL's reads included
            return self._tls.wrap_socket(plain, server_hostname=target.host), address  # type: ignore[return-value] # an SSLSocket is a socket
        except TimeoutError:
            raise deadline.passed() from None
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(f"the server's certificate is not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise TlsFailed("the server does not answer with TLS that we accept") from error
        except OSError as error:
            raise ConnectFailed("the connection broke during the TLS handshake") from error
        finally:
            plain.close()  # what is left of it: nothing after a successful handshake

    def _judged(self, target: Target, deadline: Deadline) -> Sequence[Address]:
        if target.address is not None:
            addresses: list[Address] = [target.address]
        else:
            try:
                addresses = [ip_address(text) for text in self._resolver.addresses(target.host, deadline)]
            except ValueError:
                raise UrlBlocked("the host has an address that cannot be judged") from None
        for address in addresses:
            self._policy.judge(address)
            self._own.judge(target, address)
        return addresses[:MOST_ADDRESSES]


def _connect(addresses: Sequence[Address], port: int, deadline: Deadline) -> tuple[BoundedSocket, Address]:
    """Tries each address in turn; each gets its part of the time that is left, the last one all of it."""
    for left in range(len(addresses), 0, -1):
        address = addresses[-left]
        family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
        timeout_s = deadline.remaining() / left
        try:
            made = BoundedSocket(family, socket.SOCK_STREAM)
            try:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made.settimeout(timeout_s)
                made.connect((str(address), port))  # numeric: nothing is resolved here
            except OSError:
                made.close()
                raise
        except OSError as error:
            if left > 1:
                continue
            if isinstance(error, TimeoutError):
                deadline.remaining()  # raises; only ETIMEDOUT of the kernel's own comes sooner
            raise ConnectFailed("no connection to the host could be made") from error
        return made, address
    raise AssertionError("a host has at least one address")


class Connection:
    """One HTTP connection to one judged address of one origin.

    Neither `http.client` nor urllib3: their readers are lenient (see `http1`), either would connect by
    itself past the guard, and urllib3 logs URLs and what servers sent.
    """

    def __init__(self, target: Target, guard: Guard) -> None:
        self._target = target
        self._guard = guard
        self.origin = target.origin
        self._sock: BoundedSocket | None = None
        self._reader: AnswerReader | None = None
        self.exchanges = 0
        """Requests that were answered on it."""
        self.reusable = False
        """Whether it may take another request now: the last answer was read to its end."""
        self.made_at = 0.0
        """In monotonic seconds, for whoever keeps it."""
        self.machine: str | None = None
        """Who it leads to; null if it is not connected."""

    def open(self, deadline: Deadline) -> None:
        """Connects if it is not connected. Raises what `Guard.connect` does."""
        self.reusable = False
        if self._sock is None:
            self._sock, address = self._guard.connect(self._target, deadline)
            self.machine = machine_at(address)
            self._reader = AnswerReader(self._sock)
        self._sock.bound(deadline)

    def ask(self, target: Target, headers: Mapping[str, str]) -> Head:
        """Sends a GET and reads the head of its answer. Raises what `AnswerReader.head` does, and `OSError`."""
        assert self._sock is not None
        assert self._reader is not None
        lines = [f"GET {target.resource} HTTP/1.1", f"Host: {target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        return self._reader.head()

    def body(self, head: Head, most: int) -> bytes:
        """Reads the answer's body. Raises what `AnswerReader.body` does, and `OSError`."""
        assert self._reader is not None
        return self._reader.body(head, most)

    def answered(self, head: Head) -> None:
        """The answer was read to its end."""
        assert self._reader is not None
        self.exchanges += 1
        self.reusable = head.kept and self._reader.clean

    def is_quiet(self) -> bool:
        """Whether an idle connection is still good: readable is one that the server closed, or that holds
        bytes that nobody asked for."""
        return self._sock is not None and not wait_for_read(self._sock, timeout=0)

    def close(self) -> None:
        """Closes it; nobody may use it any more."""
        if self._sock is not None:
            self._sock.close()

    def abort(self) -> None:
        """Ends whatever another thread does on it."""
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself
