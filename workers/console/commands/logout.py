"""logout: forget what proves to a registry who one is."""

from domain.images.credentials import key_of
from workers.console.commands.login import host_of
from workers.console.keyring import keyring
from workers.console.verb import Example, Invocation, Verb


async def _logout(invocation: Invocation) -> int:
    host = host_of(invocation)
    known = await keyring(invocation.call).forget(host)
    await invocation.say(f"Removing login credentials for {key_of(host)}" if known else f"Not logged in to {host}")
    return 0


VERB = Verb(
    name="logout",
    usage="[REGISTRY]",
    summary="Log out of a registry",
    run=_logout,
    most=1,
    examples=(
        Example("lading logout registry.example.com", "its credentials are deleted from your files"),
        Example("lading logout", "those of the default registry"),
    ),
)
