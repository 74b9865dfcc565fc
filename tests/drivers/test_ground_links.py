"""`payload.drivers.ground_links` with real sockets; no connection costs another one anything."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from payload.drivers import ground_links
from payload.drivers.ground_links import CONNECTIONS_MAX, SocketLinks
from payload.ports import Arrival

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def links() -> Iterator[SocketLinks]:
    found = SocketLinks(LOCAL, None, LOCAL)
    yield found
    found.close()


def connected(links: SocketLinks) -> socket.socket:
    """One more connection, that the payload has accepted."""
    assert links.tcp_address
    peer = socket.create_connection(links.tcp_address, timeout=5.0)
    links.wait(5.0, ())
    return peer


def arrived(links: SocketLinks) -> list[Arrival]:
    return links.wait(5.0, ())


def has_ended(peer: socket.socket) -> bool:
    """Whether the payload has closed it; what it sent before is read first."""
    peer.settimeout(0.2)
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE])
def test_a_peer_that_cannot_be_reached_ends_its_own_connection_alone(
    links: SocketLinks, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel says so in `send` when its repeats are over; a closed stream stands for the kernel."""
    gone, there = connected(links), connected(links)
    broken = next(iter(links._connections.values()))

    class Unreachable(socket.socket):
        def send(self, *_: object) -> int:
            raise OSError(number, "the kernel has given up")

    stream = broken.stream
    monkeypatch.setattr(broken, "stream", Unreachable(fileno=stream.detach()))
    links.send(b"telemetry")
    assert there.recv(100) == b"telemetry"
    assert [arrival.is_end for arrival in arrived(links)] == [True]
    links.send(b"more")
    assert there.recv(100) == b"more"
    there.sendall(b"command")
    assert [arrival.content for arrival in arrived(links)] == [b"command"]
    for peer in (gone, there):
        peer.close()


def test_a_peer_that_resets_its_connection_ends_it_alone(links: SocketLinks) -> None:
    gone, there = connected(links), connected(links)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    for _ in range(3):
        links.send(b"x" * 1000)
    assert [arrival.is_end for arrival in arrived(links)] == [True]
    assert len(links._connections) == 1
    assert there.recv(100)
    there.close()


def test_a_new_connection_takes_the_place_of_the_one_that_was_silent_longest(links: SocketLinks) -> None:
    peers = [connected(links) for _ in range(CONNECTIONS_MAX)]
    for speaking in (peers[0], peers[2], peers[3]):
        speaking.sendall(b"command")
        assert [arrival.content for arrival in arrived(links)] == [b"command"]
    assert links.tcp_address
    newest = socket.create_connection(links.tcp_address, timeout=5.0)
    assert [(arrival.content, arrival.is_end, arrival.is_replaced) for arrival in arrived(links)] == [
        (b"", True, True)
    ]
    assert [has_ended(peer) for peer in (*peers, newest)] == [False, True, False, False, False]
    newest.sendall(b"command")
    assert [arrival.content for arrival in arrived(links)] == [b"command"]
    assert len(links._connections) == CONNECTIONS_MAX
    for peer in (*peers, newest):
        peer.close()


def test_a_packet_is_lost_when_no_link_takes_it(links: SocketLinks) -> None:
    assert not links.send(b"x")  # nobody is there
    deaf, hearing = connected(links), connected(links)
    hearing.setblocking(False)
    packet = bytes(65536)
    for _ in range(256):  # more than the kernel and the buffer of one that does not read hold
        assert links.send(packet)
        with suppress(BlockingIOError):
            while hearing.recv(1 << 20):
                pass
    assert not next(iter(links._connections.values())).send(packet)
    while links.send(packet):
        pass
    for peer in (deaf, hearing):
        peer.close()


def test_a_silent_peer_is_asked_whether_it_is_there(links: SocketLinks) -> None:
    peer = connected(links)
    (connection,) = links._connections.values()
    assert connection.stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for level, option, value in ground_links._KEEP_ALIVE[1:]:
        assert connection.stream.getsockopt(level, option) == value
    peer.close()
