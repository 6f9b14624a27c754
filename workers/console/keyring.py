"""The client's credentials for registries: looked up where its tools have put them, for this one call.

First hit wins: $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json (root without one: /run/containers/0),
~/.config/containers/auth.json, $DOCKER_CONFIG/config.json, ~/.docker/config.json. In each of them a helper that is
named for the registry comes before the entry. They are the client's files and programs: the call is asked for them.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from domain.errors import Refused
from domain.images.credentials import (
    ANONYMOUS,
    LARGEST_FILE,
    AuthFile,
    Credentials,
    key_of,
    parse_auth_file,
    parse_helper_answer,
    with_login,
    without_login,
)
from domain.text.safe import safe, safe_json
from workers.console.call import Call
from workers.console.errors import Plain

_VARIABLES = (
    "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "HOME",
)  # fmt: skip
_MODE = 0o600
_UNKNOWN = "credentials not found"
"""What helpers print for a registry they know nothing of."""


@dataclass
class Keyring:
    """What one call has found; files are read once."""

    call: Call
    uid: int = -1
    _files: dict[str, AuthFile | None] = field(default_factory=dict)
    _environment: dict[str, str] | None = None

    async def find(self, host: str, path: str = "") -> Credentials:
        """The credentials for a repository; nobody's when there are none. Raises: Refused, InvalidValue."""
        for place in await self._places():
            file = await self._file(place)
            if file is None:
                continue
            if helper := file.helper(host):
                found = await self._ask(helper, host)
                if found:
                    return found
            entry = file.find(host, path)
            if entry is not None:
                return entry
        return ANONYMOUS

    async def all(self, hosts: Sequence[str], path: str = "") -> dict[str, Credentials]:
        """Those for several hosts."""
        return {host: await self.find(host, path) for host in dict.fromkeys(hosts)}

    async def keep(self, host: str, credentials: Credentials) -> str:
        """Store them where docker would; the file, or the helper that has them. Raises: Refused, InvalidValue."""
        place = await self._own_place()
        data = await self._read(place)
        if helper := parse_auth_file(data or b"", place).helper(host):
            secret = {"ServerURL": key_of(host), "Username": credentials.user, "Secret": credentials.password}
            await self.call.credential_helper(helper, "store", safe_json(secret))
            return f"docker-credential-{helper}"
        await self._write(place, with_login(data or b"", host, credentials, place))
        return place

    async def forget(self, host: str) -> bool:
        """Whether there was something to forget. Raises: Refused, InvalidValue."""
        found = False
        for place in await self._places():
            data = await self._read(place)
            if data is None:
                continue
            if helper := parse_auth_file(data, place).helper(host):
                found = bool(await self._ask(helper, host)) or found
                await self.call.credential_helper(helper, "erase", key_of(host))
            left = without_login(data, host, place)
            if left is not None:
                found = True
                await self._write(place, left)
        return found

    async def _ask(self, helper: str, host: str) -> Credentials:
        try:
            return parse_helper_answer(await self.call.credential_helper(helper, "get", key_of(host)), helper)
        except Refused as error:
            if _UNKNOWN in error.message:
                return ANONYMOUS
            raise

    async def _file(self, place: str) -> AuthFile | None:
        if place not in self._files:
            data = await self._read(place)
            self._files[place] = None if data is None else parse_auth_file(data, safe(place))
        return self._files[place]

    async def _read(self, place: str) -> bytes | None:
        kind, _ = await self.call.look(place, follow=True)
        if kind != "file":
            return None
        found = b""
        async for piece in self.call.open_file(place):
            found += piece
            if len(found) > LARGEST_FILE:
                raise Refused(f"{safe(place)} is too large for a file of credentials")
        return found

    async def _write(self, place: str, data: bytes) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield data

        await self.call.write_file(place, _MODE, content(), parents=True)

    async def _places(self) -> Sequence[str]:
        known = await self._known()
        runtime = known.get("XDG_RUNTIME_DIR") or ("/run/containers/0" if self.uid == 0 else "")
        home = known.get("HOME", "")
        configuration = known.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
        docker = known.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
        places = (
            known.get("REGISTRY_AUTH_FILE", ""),
            f"{runtime}/containers/auth.json" if known.get("XDG_RUNTIME_DIR") else runtime and f"{runtime}/auth.json",
            configuration and f"{configuration}/containers/auth.json",
            docker and f"{docker}/config.json",
        )
        return tuple(dict.fromkeys(place for place in places if place))

    async def _own_place(self) -> str:
        """Where a login is written."""
        known = await self._known()
        if given := known.get("REGISTRY_AUTH_FILE"):
            return given
        if known.get("DOCKER_CONFIG") or known.get("HOME"):
            return (await self._places())[-1]
        raise Plain("there is no place for credentials: HOME is not set", hint="set HOME or DOCKER_CONFIG")

    async def _known(self) -> dict[str, str]:
        if self._environment is None:
            self._environment = await self.call.getenv(_VARIABLES)
        return self._environment


def keyring(call: Call) -> Keyring:
    """That of who calls."""
    return Keyring(call, call.who.actor.uid)
