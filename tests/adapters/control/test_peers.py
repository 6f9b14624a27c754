"""For whom a gateway speaks: told once it is trusted, and never half."""

import os
from pathlib import Path

import pytest

from adapters.control.frames import Violation
from adapters.control.peers import Credentials, Peers
from domain.messages import Actor


def _peers() -> Peers:
    peers = Peers("here", lambda words: " ".join(words))
    peers.admit(Credentials(os.getpid(), 0, 0), "root")
    return peers


def test_the_actor_is_the_gateways_client() -> None:
    """With the command line that the kernel shows of it."""
    peers = _peers()
    peers.speak_for("c1", b'{"via":"socket","user":"ann","uid":1000,"gid":100,"pid":%d}' % os.getpid())
    actor = peers.identity("c1")
    assert (actor.via, actor.user, actor.uid, actor.gid, actor.pid) == ("socket", "ann", 1000, 100, os.getpid())
    assert actor.command.endswith(Path("/proc/self/cmdline").read_text().rstrip("\0").split("\0")[-1])


def test_a_client_elsewhere_has_a_name_and_no_process() -> None:
    """That of its certificate."""
    peers = _peers()
    peers.speak_for("c1", b'{"via":"tls","user":"ann"}')
    assert peers.identity("c1") == Actor("tls", "ann", host="here")


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"via":"x"}', b'{"via":"x","user":"y","pid":"z"}', b"[" * 9999])
def test_half_a_person_is_refused(said: bytes) -> None:
    """And the gateway stays what it was."""
    peers = _peers()
    with pytest.raises(Violation):
        peers.speak_for("c1", said)
    assert peers.identity("c1").user == "root"
