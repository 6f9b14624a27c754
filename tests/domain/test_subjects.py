"""Laws of the names on the bus: what a local client may say, and that nothing it writes gets it anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import subjects

HOST = "a.example"
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NASTY = st.text(st.sampled_from("lading@.callcmdqioev_INBOX*> c17\r\n\0é"), max_size=40)


@given(TEXT)
def test_any_text_becomes_one_token_and_comes_back(text: str) -> None:
    """A tag with dots and slashes must not grow into several tokens, nor into another tag."""
    token = subjects.escape(text)
    assert subjects.is_subject(token)
    assert "." not in token
    assert subjects.unescape(token) == text


def test_a_plain_name_stays_as_it_is() -> None:
    """People read subjects."""
    assert subjects.escape("sha256:0a1b") == "sha256:0a1b"
    assert subjects.event("box", "container", "0a", "exited.v1") == "lading.box.ev.container.0a.exited"
    assert subjects.work("box", "start-requested.v12") == "lading.box.work.start-requested"


@pytest.mark.parametrize(("asked", "stamped"), [
    ("lading.@.call.@", "lading.a=2Eexample.call.c17"),
    ("lading.@.cmd.@.stop", "lading.a=2Eexample.cmd.c17.stop"),
    ("lading.@.q.@.ps", "lading.a=2Eexample.q.c17.ps"),
    ("lading.@.io.@.1", "lading.a=2Eexample.io.c17.1"),
])
def test_a_client_speaks_in_its_own_name(asked: str, stamped: str) -> None:
    """The number is put in, never taken from the client."""
    assert subjects.stamp_publish(asked, HOST, "c17") == stamped


@pytest.mark.parametrize("asked", [
    "lading.@.call.c5", "lading.a=2Eexample.call.@", "lading.a=2Eexample.call.c17", "lading.@.call.@.x",
    "lading.@.cmd.@", "lading.@.cmd.@.stop.x",
    "lading.@.work.@", "lading.@.work.start-requested", "lading.@.ev.container.x.started",
    "lading.@.done.@", "lading.@.cmd.@.*", "lading.@.cmd.@.>", "lading.@.cmd.@.", "lading.@.cmd.@.a b", "_INBOX.@.1",
    "_INBOX.daemon.x", "$SYS.REQ.SERVER.PING", ">", "", "lading", "lading.@", "lading.@@.call.@", "other.@.call.@",
])
def test_a_client_may_say_nothing_else(asked: str) -> None:
    """Each of these would be somebody else's word, or the engine's own."""
    assert subjects.stamp_publish(asked, HOST, "c17") is None


@pytest.mark.parametrize(("asked", "stamped"), [
    ("_INBOX.@.>", "_INBOX.local.c17.>"), ("_INBOX.@.1", "_INBOX.local.c17.1"), ("_INBOX.@.*", "_INBOX.local.c17.*"),
    ("_INBOX.local.c17.x.*", "_INBOX.local.c17.x.*"), ("lading.@.ev.>", "lading.a=2Eexample.ev.>"),
    ("lading.@.ev.container.*.exited", "lading.a=2Eexample.ev.container.*.exited"),
])
def test_a_client_hears_its_inbox_and_the_events(asked: str, stamped: str) -> None:
    """That is all a client has to hear."""
    assert subjects.stamp_subscribe(asked, HOST, "c17") == stamped


@pytest.mark.parametrize("asked", [
    ">", "*", "_INBOX.>", "_INBOX.*.>", "_INBOX.@", "_INBOX.@.", "_INBOX.@.>.x", "_INBOX.local.>", "_INBOX.local.c1.>",
    "_INBOX.local.c170.>", "_INBOX.local.c17", "_INBOX.daemon.>", "lading.>", "lading.@.>", "lading.@.call.>",
    "lading.@.ev", "lading.@.ev.", "lading.*.ev.>", "lading.@.io.@.1", "lading.@.work.>", "$SYS.>",
])
def test_a_client_hears_nobody_else_s(asked: str) -> None:
    """An inbox holds answers, and answers hold what their asker may see."""
    assert subjects.stamp_subscribe(asked, HOST, "c17") is None


@given(NASTY)
def test_whatever_is_written_the_name_is_the_proven_one(text: str) -> None:
    """The rule as a law: what passes is an area of questions in the client's own name, and one clean subject."""
    stamped = subjects.stamp_publish(f"lading.{text}", HOST, "c17")
    if stamped is not None:
        _, area, (who, *_) = subjects.split(stamped)
        assert (area in ("call", "cmd", "q", "io"), who) == (True, "c17")
        assert subjects.is_subject(stamped)


@pytest.mark.parametrize(("reply", "fits"), [
    ("_INBOX.local.c17.1", True), ("_INBOX.local.c18.1", False), ("_INBOX.ann.1", False), ("", False),
    ("lading.a.work.start-requested", False), ("_INBOX.local.c17.*", False), ("_INBOX.local.c17", False),
])
def test_an_answer_goes_only_to_who_asked(reply: str, fits: bool) -> None:
    """The daemon may publish anywhere, so it must not be told where."""
    assert subjects.answers_to(reply, "c17") is fits


@pytest.mark.parametrize("name", ["daemon", "proxy", "worker", "reader", "local", "c5", "c0", "a.b", "a b", "", "@"])
def test_a_user_cannot_be_called_like_a_part_of_the_engine(name: str) -> None:
    """A user named c5 would be taken for a local client."""
    assert not subjects.is_user(name)


@pytest.mark.parametrize(("pattern", "subject", "heard"), [
    ("a.*.c", "a.b.c", True), ("a.>", "a.b.c", True), ("a.>", "a", False), ("a.*", "a.b.c", False),
    ("a.b", "a.b", True), ("a.b", "a.c", False), (">", "a", True), ("a.*.c", "a.b.d", False),
])
def test_patterns_match_as_on_the_real_bus(pattern: str, subject: str, heard: bool) -> None:
    """The bus in memory depends on it."""
    assert subjects.matches(pattern, subject) is heard


@pytest.mark.parametrize("subject", ["lading", "lading.a", "lading.a.call", "other.a.call.b"])
def test_a_foreign_subject_is_not_taken_apart(subject: str) -> None:
    """A worker that splits must not guess."""
    with pytest.raises(ValueError, match="not a subject of the engine"):
        subjects.split(subject)
