"""`--ssh`: what a client lends to a build."""

import pytest

from domain.errors import LadingError
from domain.options import OptionError
from tests.workers.console.fakes import FakeCall
from workers.console.agents import keyring
from workers.console.errors import Plain

NO_KEYS = b"\0\0\0\5\x0c\0\0\0\0"


def client(**kinds: str) -> FakeCall:
    """One with an agent at /run/a, another at /run/b, and a host that he trusts; `kinds` are other files in /run."""
    call = FakeCall(
        (),
        environment={"SSH_AUTH_SOCK": "/run/a", "HOME": "/ann"},
        files={"/ann/.ssh/known_hosts": b"example.org ssh-ed25519 A\n"},
        agents={"/run/a": NO_KEYS, "/run/b": b"b"},
    )
    call.side.tree |= {f"/run/{name}": kind for name, kind in {"a": "other", "b": "other", **kinds}.items()}
    return call


async def test_agents_are_known_by_their_ids() -> None:
    """The one that the client's variable names, and others by their sockets."""
    found = await keyring(client(), ("default", "other=/run/b"), behind_ssh=False)
    assert {id: await ask(b"") for id, ask in found.agents.items()} == {"default": NO_KEYS, "other": b"b"}
    assert found.known_hosts.startswith(b"example.org")


async def test_nothing_is_lent_that_was_not_asked_for() -> None:
    """Only a context that is behind ssh takes the client's agent by itself."""
    assert not (await keyring(client(), (), behind_ssh=False)).agents
    assert set((await keyring(client(), (), behind_ssh=True)).agents) == {"default"}
    poor = client()
    poor.environment.clear()
    assert not (await keyring(poor, (), behind_ssh=True)).agents


@pytest.mark.parametrize(
    ("wish", "kind", "says"),
    [
        ("x=/run/b", "file", "is a file, and not the socket"),
        ("x=/run/b", "missing", "no such file"),
        ("x=/run/c", "other", "does not answer: Connection refused"),
        ("x=", "other", "invalid agent"),
        ("=/run/b", "other", "invalid agent"),
    ],
)
async def test_what_is_no_agent_is_told_before_anything_is_built(wish: str, kind: str, says: str) -> None:
    """With what is wrong with it."""
    with pytest.raises((LadingError, Plain, OptionError)) as caught:
        await keyring(client(b=kind, c=kind), (wish,), behind_ssh=False)
    assert says in str(caught.value)


async def test_a_variable_that_is_not_set_is_told() -> None:
    """`--ssh default` alone means the agent of the shell."""
    call = client()
    del call.environment["SSH_AUTH_SOCK"]
    with pytest.raises(Plain) as caught:
        await keyring(call, ("default",), behind_ssh=False)
    assert "SSH_AUTH_SOCK is not set" in str(caught.value)
