"""How messages and descriptors travel between the processes."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kernel.supervisor import handover, wire
from adapters.kernel.supervisor.handover import Held

MESSAGES = st.lists(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=4), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1))
def test_messages_arrive_however_the_stream_is_cut(messages: list[wire.Message], cuts: list[int]) -> None:
    """A socket keeps no boundaries."""
    stream = b"".join(map(wire.pack, messages))
    splitter, found = wire.Splitter(), []
    for number in range(len(stream) + 1):
        cut = cuts[number % len(cuts)]
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert found == messages


@pytest.mark.parametrize("data", [
    b"\xff\xff\xff\xff", (wire.LIMIT + 1).to_bytes(4), b"\0\0\0\3abc", b"\0\0\0\2[]", b"\0\0\0\1\xff", b"\0\0\0\0"])
def test_what_is_no_message_is_garbage(data: bytes) -> None:
    """It is found out before anything is allocated for it."""
    with pytest.raises(wire.Garbage):
        wire.Splitter().feed(data)


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


def test_what_is_held_arrives_with_its_names(channel: tuple[socket.socket, socket.socket]) -> None:
    """Copies of the descriptors, close-on-exec."""
    reading, writing = os.pipe()
    handover.send_held(channel[0], b"key.1", Held(b'{"a": 1}', {"stdout": reading, "pidfd": writing}))
    os.write(writing, b"hello")
    os.close(reading)
    os.close(writing)
    parcel = handover.receive(channel[1])
    assert parcel is not None
    key, held = handover.held(parcel)
    assert (key, held.note, list(held.fds)) == (b"key.1", b'{"a": 1}', ["stdout", "pidfd"])
    assert os.read(held.fds["stdout"], 10) == b"hello"
    assert not any(map(os.get_inheritable, held.fds.values()))
    handover.close(list(held.fds.values()))


def test_what_a_dead_peer_has_sent_still_arrives(channel: tuple[socket.socket, socket.socket]) -> None:
    """Even if it died without reading what we had sent to it, which the kernel reports first."""
    handover.send(channel[1], handover.END)
    handover.send(channel[0], handover.STATUS, b"12", b"256")
    channel[0].close()
    parcel = handover.receive(channel[1])
    assert parcel is not None
    assert (parcel.letter, parcel.fields) == (handover.STATUS, [b"12", b"256"])
    assert handover.receive(channel[1]) is None


def test_state_survives_an_exec() -> None:
    """It lies in a file without a name."""
    entries = {b"k.1": Held(b'{"x":"y"}', {"stdout": 7, "pidfd": 9}), b"k.2": Held(b"{}", {})}
    found = handover.read_state(handover.write_state(entries))
    assert {key: (held.note, held.fds) for key, held in found.items()} == {
        key: (held.note, held.fds) for key, held in entries.items()}
