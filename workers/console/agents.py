"""The agents of ssh that a client lends to a build, and the hosts that he trusts.

    --ssh default             the agent whose socket SSH_AUTH_SOCK names on his side
    --ssh deploy=/run/a.sock  another one, by its socket

The engine opens neither: it asks the client, which has his rights, and passes on what the client answers.
"""

import posixpath
from collections.abc import Sequence

from domain.agents import LIST, Ask
from domain.copying import absolute
from domain.errors import Refused
from domain.options import OptionError
from domain.text.safe import legible
from workers.build.agents import DEFAULT
from workers.build.request import Keyring
from workers.console.call import Call
from workers.console.errors import Plain

_SOCKET = "SSH_AUTH_SOCK"
_LARGEST_LIST = 1 << 20


async def keyring(call: Call, wishes: Sequence[str], *, behind_ssh: bool) -> Keyring:
    """What `--ssh` says; for a context that is `behind_ssh` also the agent that SSH_AUTH_SOCK names without being
    asked for. Raises: OptionError, Plain."""
    own = await call.getenv([_SOCKET, "HOME"]) if wishes or behind_ssh else {}
    agents: dict[str, Ask] = {}
    for wish in wishes:
        id, equals, path = wish.partition("=")
        if not id or (equals and not path):
            raise OptionError(f"invalid agent: {wish!r}", hint="write it as default, or as ID=SOCKET")
        path = path or own.get(_SOCKET, "")
        if not path:
            raise Plain(f"{_SOCKET} is not set: there is no agent for --ssh {id}",
                        hint='start one: eval "$(ssh-agent)" && ssh-add')
        agents[id] = await _agent(call, path)
    if behind_ssh and DEFAULT not in agents and own.get(_SOCKET):
        agents[DEFAULT] = await _agent(call, own[_SOCKET])
    home = own.get("HOME", "")
    trusted = await _trusted(call, posixpath.join(home, ".ssh/known_hosts")) if agents and home.startswith("/") else b""
    return Keyring(agents, trusted)


async def _agent(call: Call, path: str) -> Ask:
    """It is asked for its keys once, so that a wrong path is told before anything is built. Raises: Plain."""
    whole = absolute(path, call.cwd)
    kind, _ = await call.look(whole, follow=True)
    if kind == "missing":
        raise Plain(f"there is no agent at {legible(path)}: no such file or directory")
    if kind != "other":
        raise Plain(f"{legible(path)} is a {kind}, and not the socket of an agent",
                    hint="give your key to an agent (ssh-add), and name its socket" if kind == "file" else "")

    async def ask(message: bytes) -> bytes:
        return await call.agent(whole, message)

    try:
        await ask(LIST)
    except Refused as error:
        raise Plain(f"the agent at {legible(path)} does not answer: {error.message}") from error
    return ask


async def _trusted(call: Call, path: str) -> bytes:
    """The client's own list of hosts; none if he has none."""
    content = b""
    try:
        async for piece in call.open_file(path):
            content += piece
            if len(content) > _LARGEST_LIST:
                raise Plain(f"{legible(path)} is too long")
    except Refused:
        return b""
    return content
