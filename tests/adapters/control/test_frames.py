"""Laws of the filter between a local client and the bus: nothing passes that was not judged, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.control.frames import MAX_LINE, MAX_PAYLOAD, Frames, Seams, Violation
from domain import subjects

STREAM = (b'CONNECT {"verbose":false}\r\nSUB _INBOX.@.> 1\r\nPUB lading.@.call.@ _INBOX.@.1 5\r\nhel\r\n\r\n'
          b"hpub lading.@.q.@.ps 12 15\r\nNATS/1.0\r\n\r\nabc\r\nPING\r\nPONG\r\nUNSUB 1 5\r\n"
          b"PUB lading.@.io.@.1 0\r\n\r\n")
PASSED = (b"SUB _INBOX.local.c17.> 1\r\nPUB lading.box.call.c17 _INBOX.local.c17.1 5\r\nhel\r\n\r\n"
          b"HPUB lading.box.q.c17.ps 12 15\r\nNATS/1.0\r\n\r\nabc\r\nPING\r\nPONG\r\nUNSUB 1 5\r\n"
          b"PUB lading.box.io.c17.1 0\r\n\r\n")


def fed(*pieces: bytes) -> bytes:
    """What passes of a fresh client's stream."""
    frames = Frames("box", "c17")
    return b"".join(frames.feed(piece) for piece in pieces)


def test_a_stream_is_written_anew_in_the_proven_name() -> None:
    """CONNECT stays here, the marks become names, everything else goes on as it means."""
    assert fed(STREAM) == PASSED


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_it_does_not_matter_how_the_stream_is_cut(size: int) -> None:
    """The kernel cuts where it likes."""
    assert fed(*(STREAM[at:at + size] for at in range(0, len(STREAM), size))) == PASSED


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_what_belongs_to_a_call_here_is_handed_over_whole_and_in_order(size: int) -> None:
    """However it is cut; everything around it goes to the server as ever."""
    parts = [(b"1", b"d\r\nkeys"), (b"1", b""), (b"two", b"x" * 300)]
    stream = STREAM + b"".join(b"PUB lading.@.io.@.%b %d\r\n%b\r\n" % (s, len(p), p) for s, p in parts) + b"PING\r\n"
    taken: list[tuple[str, bytes]] = []

    def take(session: str, payload: bytes) -> bool:
        taken.append((session, payload))
        return True

    frames = Frames("box", "c17", take)
    passed = b"".join(frames.feed(stream[at:at + size]) for at in range(0, len(stream), size))
    assert passed == PASSED.removesuffix(b"PUB lading.box.io.c17.1 0\r\n\r\n") + b"PING\r\n"
    assert taken == [("1", b""), *((session.decode(), payload) for session, payload in parts)]


def test_a_part_that_asks_for_an_answer_goes_to_the_server() -> None:
    """Only it can give one."""
    frames = Frames("box", "c17", lambda session, payload: True)
    assert frames.feed(b"PUB lading.@.io.@.1 _INBOX.@.1 1\r\nx\r\n").startswith(b"PUB lading.box.io.c17.1")


def test_it_is_known_what_a_client_hears() -> None:
    """Exact subjects of its inbox, until it stops."""
    frames = Frames("box", "c17")
    frames.feed(b"SUB _INBOX.@.1 7\r\nSUB _INBOX.@.x.> 8\r\n")
    assert (frames.listens("_INBOX.local.c17.1"), frames.listens("_INBOX.local.c17.x.y")) == ("7", "")
    frames.feed(b"UNSUB 7\r\n")
    assert frames.listens("_INBOX.local.c17.1") == ""


SAID = b"PING\r\nMSG a 1 5\r\nhe\r\no\r\nHMSG b 1 12 15\r\nNATS/1.0\r\n\r\nabc\r\n+OK\r\nMSG a 1 r 0\r\n\r\n"
SEAMS = {0, 6, 24, 57, 62, 77}


@given(st.lists(st.integers(0, len(SAID)), max_size=12))
def test_the_seams_between_frames_are_found(cuts: list[int]) -> None:
    """Nothing may be put inside a frame, and nothing waits longer than to its end."""
    seams, before = Seams(), 0
    for cut in [*sorted(cuts), len(SAID)]:
        seams.follow(SAID[before:cut])
        before = cut
        assert seams.here == (cut in SEAMS)


def test_a_payload_passes_whatever_is_in_it() -> None:
    """Frames inside a payload are bytes, not frames."""
    payload = b"\r\nPUB lading.box.cmd.c1.rm 0\r\n\r\n" + bytes(range(256)) * 100
    assert fed(b"PUB lading.@.io.@.1 %d\r\n%b\r\n" % (len(payload), payload)).endswith(b"\r\n" + payload + b"\r\n")


@pytest.mark.parametrize("frame", [
    b"PUB lading.@.call.c5 0\r\n", b"PUB lading.box.call.c17 0\r\n", b"PUB lading.@.work.x 0\r\n", b"PUB x 0\r\n",
    b"PUB _INBOX.@.1 0\r\n", b"PUB lading.@.call.@ _INBOX.daemon.1 0\r\n",
    b"PUB lading.@.call.@ lading.box.work.x 0\r\n",
    b"PUB lading.@.call.@ _INBOX.local.c1.1 0\r\n", b"HPUB lading.@.call.@ _INBOX.ann.1 2 2\r\n", b"SUB > 1\r\n",
    b"SUB lading.> 1\r\n", b"SUB _INBOX.> 1\r\n", b"SUB _INBOX.local.c1.> 1\r\n", b"SUB lading.@.cmd.> 1\r\n",
], ids=ascii)
def test_what_one_may_not_say_or_hear_is_named_in_the_refusal(frame: bytes) -> None:
    """The client learns which of its subjects it was."""
    with pytest.raises(Violation, match="Permissions Violation"):
        fed(frame)


@pytest.mark.parametrize("frame", [
    b"PUB lading.@.call.@ -1\r\n", b"PUB lading.@.call.@ +1\r\n", b"PUB lading.@.call.@ 1_0\r\n",
    b"PUB lading.@.call.@ 0x10\r\n", b"PUB lading.@.call.@ 99999999999\r\n", b"PUB lading.@.call.@ 1048577\r\n",
    b"PUB lading.@.call.@\r\n", b"PUB\r\n", b"PUB a b c d e\r\n", b"HPUB lading.@.call.@ 5 4\r\n",
    b"HPUB lading.@.call.@ -5 4\r\n", b"HPUB lading.@.call.@ 4\r\n", b"PUB lading.@.call.@ 3\r\nabcd\r\n",
    b"PUB lading.@.call.@ 3\r\nabc\n", b"PUB lading.@.call.@ 0\r\nPUB x 0\r\n\r\n", b"SUB _INBOX.@.> queue 1\r\n",
    b"SUB _INBOX.@.>\r\n", b"SUB _INBOX.@.> 1;2\r\n", b"SUB _INBOX.@.> " + b"1" * 17 + b"\r\n", b"UNSUB\r\n",
    b"UNSUB -1\r\n", b"UNSUB 1 -1\r\n", b"CONNECT {\r\n", b"CONNECT []\r\n", b"CONNECT " + b"[" * 4000 + b"\r\n",
    b'CONNECT {"verbose":true}\r\n', b"INFO {}\r\n", b"MSG a 1 0\r\n", b"\r\n", b"GET / HTTP/1.1\r\n", b"\0\n",
    b"+OK\r\n", b"x" * (MAX_LINE + 1), b"PUB lading.@.call.@ _INBOX.@." + b"x" * MAX_LINE + b" 0\r\n",
    b"PUB lading.@.q.@.\xff 0\r\n",
    b"PUB lading.@.q.@.\x1b 0\r\n", b"-ERR 'x'\r\n",
], ids=lambda frame: ascii(frame[:40]))
def test_a_frame_that_is_none_is_refused(frame: bytes) -> None:
    """Signs, underscores, other bases, wrong lengths: the server must never read another frame than was judged."""
    with pytest.raises(Violation):
        fed(frame)


def test_the_largest_message_passes() -> None:
    """As large as the server itself allows."""
    assert len(fed(b"PUB lading.@.io.@.1 %d\r\n" % MAX_PAYLOAD, bytes(MAX_PAYLOAD), b"\r\n")) > MAX_PAYLOAD


def test_an_endless_line_is_not_kept() -> None:
    """It ends at the limit, however small its pieces."""
    with pytest.raises(Violation, match="Control Line"):
        fed(*[b"x"] * (MAX_LINE + 1))


WORDS = st.sampled_from([
    b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"CONNECT", b"lading.@.call.@", b"lading.@.cmd.@.rm",
    b"lading.box.cmd.c1.rm", b"_INBOX.@.1", b"_INBOX.daemon.1", b"_INBOX.@.>", b"lading.@.ev.>", b">", b"0", b"1", b"5",
    b"-1", b"12", b"{}", b"x"])
BITS = st.one_of(WORDS, st.sampled_from([b" ", b"\r\n", b"\n", b"\t", b"\r"]), st.binary(max_size=6))


@given(st.lists(BITS, max_size=40), st.integers(1, 50))
def test_whatever_is_sent_only_judged_frames_come_out(bits: list[bytes], size: int) -> None:
    """An independent reader of what passed finds nothing but questions in the client's name and its own inbox."""
    stream, frames, out = b"".join(bits), Frames("box", "c17"), b""
    try:
        for at in range(0, len(stream), size):
            out += frames.feed(stream[at:at + size])
    except Violation:
        pass
    while out:
        line, _, out = out.partition(b"\r\n")
        name, *words = line.decode().split(" ")
        if name in ("PUB", "HPUB"):
            assert words[0] == "lading.box.call.c17" or words[0].startswith("lading.box.cmd.c17.")
            assert all(subjects.answers_to(word, "c17") for word in words[1:-1] if not word.isdigit())
            out = out[int(words[-1]) + 2:]
        elif name == "SUB":
            assert words[0].startswith(("_INBOX.local.c17.", "lading.box.ev."))
            assert len(words) == 2
        else:
            assert name in ("UNSUB", "PING", "PONG")


def test_a_gateway_says_for_whom_it_speaks_in_its_first_line_and_never_later() -> None:
    """Nothing of it goes to the server."""
    heard: list[bytes] = []
    frames = Frames("box", "c17", vouch=heard.append)
    assert frames.feed(b'FOR token {"user":"ann"}\r\nPING\r\n') == b"PING\r\n"
    assert heard == [b'token {"user":"ann"}']
    with pytest.raises(Violation):
        frames.feed(b"FOR token {}\r\n")
    late = Frames("box", "c17", vouch=heard.append)
    late.feed(b"CONNECT {}\r\n")
    with pytest.raises(Violation):
        late.feed(b"FOR token {}\r\n")
    with pytest.raises(Violation):
        Frames("box", "c17").feed(b"FOR token {}\r\n")
