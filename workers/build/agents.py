"""Agents of ssh that a client lends to a build, as sockets on this host for as long as a step needs them."""

from contextlib import AsyncExitStack

from adapters.images.building import BuildFiles
from adapters.images.repository import Ssh
from adapters.system.agent import agent_socket
from workers.build.request import Keyring

DEFAULT = "default"


async def ssh_of(keyring: Keyring, files: BuildFiles, stack: AsyncExitStack) -> Ssh | None:
    """What ssh needs to be the client, until the stack is closed; None if there is no agent. Raises: StorageError."""
    ask = keyring.agents.get(DEFAULT)
    if ask is None:
        return None
    folder, mark = files.private
    agent = await stack.enter_async_context(agent_socket(folder, mark, ask))
    return Ssh(agent, stack.enter_context(files.secret_file(keyring.known_hosts, 0o600, 0, 0)))
