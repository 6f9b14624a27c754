"""Agents of ssh as far as a build may use them: list the keys, sign with one. Pure.

A message is its length in four bytes, its kind in one, and the rest (draft-miller-ssh-agent, section 3). Adding,
removing and locking keys, and extensions, are nobody's business in a build: they are answered with a failure and do not
reach the agent.
"""

from collections.abc import Awaitable, Callable

Ask = Callable[[bytes], Awaitable[bytes]]
"""The answer of an agent to one message, both with their lengths in front."""
LIST = b"\x00\x00\x00\x01\x0b"
"""SSH_AGENTC_REQUEST_IDENTITIES."""
FAILURE = b"\x00\x00\x00\x01\x05"
"""SSH_AGENT_FAILURE."""
LARGEST = 256 * 1024
"""Bytes of a message, as OpenSSH limits them."""
_ALLOWED = frozenset({11, 13})
"""SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST."""


def allowed(message: bytes) -> bool:
    """Whether an agent may be asked this."""
    return len(message) > 4 and message[4] in _ALLOWED
