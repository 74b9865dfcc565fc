"""The ways to and from the ground: UDP datagrams and TCP connections, none of which blocks.

UDP: every datagram that comes to the own address is taken, telemetry goes to one address.
TCP: every connection sends commands and gets all telemetry from then on. One that does not
read loses the packets that find its buffer full; one that floods is read at its turn only. What
goes wrong with a connection ends that one and nothing else; the peer is asked whether it is still
there, and where there are CONNECTIONS_MAX, a new one takes the place of the one silent longest.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress

from payload.errors import LinkError
from payload.ports import Arrival, GroundLinks

CONNECTIONS_MAX = 4
_CHUNK_BYTES = 65536
_DATAGRAMS_AT_ONCE = 64
_UNSENT_MAX_BYTES = 1 << 20
_UDP_ORIGIN = -1
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),  # s of silence, then asked
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),  # s between two questions
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),  # questions without an answer
)

Address = tuple[str, int]


class _Connection:
    """One TCP connection, with what it has not taken yet."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.unsent = bytearray()
        self.is_broken = False

    def send(self, packet: bytes) -> bool:
        """Whether the packet is on its way; whole packets only, or the stream would be damaged."""
        if len(self.unsent) + len(packet) > _UNSENT_MAX_BYTES:
            return False
        self.unsent += packet
        self.flush()
        return True

    def flush(self) -> None:
        """As much as the connection takes now is gone."""
        try:
            while self.unsent:
                sent = self.stream.send(self.unsent[:_CHUNK_BYTES])
                del self.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:  # reset, or its machine is gone: timed out, no route
            self.unsent.clear()
            self.is_broken = True

    def receive(self) -> bytes | None:
        """What has come; None if nothing has, no bytes if this is the end."""
        self.flush()
        try:
            return b"" if self.is_broken else self.stream.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class SocketLinks(GroundLinks):
    """Implements `ports.GroundLinks`; either link may be absent."""

    def __init__(
        self, udp_listen: Address | None, udp_to: Address | None, tcp_listen: Address | None
    ) -> None:
        """Opens what is given.

        Raises:
            LinkError: an address is in use or cannot be had.
        """
        self._udp: socket.socket | None = None
        self._tcp: socket.socket | None = None
        self._udp_to = udp_to
        self._connections: dict[int, _Connection] = {}  # the one silent longest first
        try:
            if udp_listen:
                self._udp = _opened(udp_listen, socket.SOCK_DGRAM)
            if tcp_listen:
                self._tcp = _opened(tcp_listen, socket.SOCK_STREAM)
                self._tcp.listen(CONNECTIONS_MAX)
        except LinkError:
            self.close()
            raise

    @property
    def udp_address(self) -> Address | None:
        """Where commands are taken by UDP; the port is known even if 0 was asked for."""
        return self._udp.getsockname() if self._udp else None

    @property
    def tcp_address(self) -> Address | None:
        """Where connections are taken."""
        return self._tcp.getsockname() if self._tcp else None

    def wait(self, timeout_s: float, wakes_on: Sequence[int]) -> list[Arrival]:
        """What has come within ``timeout_s``; see `ports.GroundLinks`."""
        poll = select.poll()
        for own in (self._udp, self._tcp):
            if own is not None:
                poll.register(own, select.POLLIN)
        for descriptor in wakes_on:
            poll.register(descriptor, select.POLLIN)
        for connection in self._connections.values():
            out = select.POLLOUT if connection.unsent else 0
            poll.register(connection.stream, select.POLLIN | out)
        ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
        arrivals = self._datagrams() if self._udp and self._udp.fileno() in ready else []
        for origin, connection in list(self._connections.items()):
            if origin in ready or connection.is_broken:
                arrivals += self._received(origin)
        if self._tcp and self._tcp.fileno() in ready:
            arrivals += self._accept(self._tcp)
        return arrivals

    def send(self, packet: bytes) -> bool:
        """The packet is on its way on every link that takes it, and that is one at least."""
        takers = sum([connection.send(packet) for connection in self._connections.values()])
        if self._udp and self._udp_to:
            with suppress(OSError):  # nobody there, or no room in the kernel: telemetry is not repeated
                self._udp.sendto(packet, self._udp_to)
                takers += 1
        return takers > 0

    def close(self) -> None:
        """Every socket is closed."""
        for connection in self._connections.values():
            connection.stream.close()
        self._connections.clear()
        for own in (self._udp, self._tcp):
            if own is not None:
                own.close()
        self._udp = self._tcp = None

    def _datagrams(self) -> list[Arrival]:
        assert self._udp is not None
        arrivals: list[Arrival] = []
        with suppress(OSError):  # nothing more has come, or the kernel tells of what we sent
            while len(arrivals) < _DATAGRAMS_AT_ONCE:
                arrivals.append(Arrival(_UDP_ORIGIN, self._udp.recv(_CHUNK_BYTES), is_end=True))
        return arrivals

    def _received(self, origin: int) -> list[Arrival]:
        content = self._connections[origin].receive()
        if content is None:
            return []
        if not content:
            return [self._ended(origin)]
        self._connections[origin] = self._connections.pop(origin)
        return [Arrival(origin, content, is_end=False)]

    def _ended(self, origin: int, is_replaced: bool = False) -> Arrival:
        self._connections.pop(origin).stream.close()
        return Arrival(origin, b"", is_end=True, is_replaced=is_replaced)

    def _accept(self, listener: socket.socket) -> list[Arrival]:
        """A new connection is there; the end of the one that it takes the place of."""
        try:
            stream, _ = listener.accept()
        except OSError:  # gone again before we came
            return []
        try:
            stream.setblocking(False)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in _KEEP_ALIVE:
                stream.setsockopt(*option)
        except OSError:
            stream.close()
            return []
        is_full = len(self._connections) >= CONNECTIONS_MAX
        ended = [self._ended(next(iter(self._connections)), is_replaced=True)] if is_full else []
        self._connections[stream.fileno()] = _Connection(stream)
        return ended


def _opened(address: Address, kind: socket.SocketKind) -> socket.socket:
    found = socket.socket(socket.AF_INET, kind)
    found.setblocking(False)
    try:
        if kind == socket.SOCK_STREAM:  # for UDP it would let two payloads share a port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise LinkError(
            f"{address[0]}:{address[1]}: cannot listen: {error.strerror}; is another payload running?"
        ) from error
    return found
