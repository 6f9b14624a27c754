"""Who one is for a registry, as the industry's files say it: docker's config.json and podman's auth.json.

    {"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzd29yZA=="},
               "reg.example.com/team": {"identitytoken": "…"}},
     "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "desktop"}

They are read as they are, and written back with nothing lost that we do not understand. Secrets never leave this
module in an error, a `repr` or an event.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.errors import InvalidValue
from domain.images.manifest import parse_json
from domain.images.reference import DEFAULT_HOST
from domain.text.safe import safe

DOCKER_KEY = "https://index.docker.io/v1/"
"""Under which name docker keeps the default registry's entry."""
LARGEST_FILE = 1 << 20
TOKEN_USER = "<token>"
"""The user name by which a credential helper says that its secret is an identity token."""
_HELPER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or with an identity token; nothing at all for somebody anonymous."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an `Authorization: Basic` header, empty for who has no password."""
        if not self.password:
            return ""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __bool__(self) -> bool:
        return bool(self.password or self.identity_token)


ANONYMOUS = Credentials()


@dataclass(frozen=True, slots=True)
class AuthFile:
    """What one file says: entries by place (`host`, `host:port`, `host/path`), and programs that know more."""

    entries: Mapping[str, Credentials] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def helper(self, host: str) -> str:
        """The program (`docker-credential-NAME`) that has the credentials of the host; empty for none."""
        return self.helpers.get(host, self.store)

    def find(self, host: str, path: str = "") -> Credentials | None:
        """The entry for a repository, the most specific one first; None when there is none."""
        return next((self.entries[place] for place in _places(host, path) if place in self.entries), None)


def parse_auth_file(data: bytes, what: str) -> AuthFile:
    """The credentials in a file of docker or podman. Raises: InvalidValue, without quoting what is in it."""
    document = parse_json(data, what, LARGEST_FILE) if data.strip() else {}
    if not isinstance(document, dict):
        raise InvalidValue(f"{what} is not an object")
    auths, helpers = ({} if document.get(key) is None else document[key] for key in ("auths", "credHelpers"))
    if not isinstance(auths, dict) or not isinstance(helpers, dict):
        raise InvalidValue(f"{what} is invalid: auths and credHelpers must be objects")
    entries = {}
    for key, value in auths.items():
        found = _entry(value, f"{what}: the entry of {safe(str(key))[:100]}")
        if found:
            entries[place_of(str(key))] = found
    named = {place_of(str(key)): _helper(value, what) for key, value in helpers.items() if value}
    return AuthFile(entries, named, _helper(document.get("credsStore") or "", what))


def with_login(data: bytes, host: str, credentials: Credentials, what: str) -> bytes:
    """The file with one more entry, or another one in its place. Raises: InvalidValue."""
    document = _document(data, what)
    auths = _without(document.get("auths") or {}, host)
    auth = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
    entry = {"auth": auth} if credentials.password else {}
    if credentials.identity_token:
        auth = base64.b64encode(f"{credentials.user}:".encode()).decode()
        entry = {"auth": auth, "identitytoken": credentials.identity_token}
    return _bytes(document | {"auths": auths | {key_of(host): entry}})


def without_login(data: bytes, host: str, what: str) -> bytes | None:
    """The file without the entries of the host; None when it has none. Raises: InvalidValue."""
    document = _document(data, what)
    auths = document.get("auths") or {}
    left = _without(auths, host)
    return None if len(left) == len(auths) else _bytes(document | {"auths": left})


def parse_helper_answer(data: bytes, helper: str) -> Credentials:
    """What `docker-credential-NAME get` has printed: `{"ServerURL": …, "Username": …, "Secret": …}`.

    Raises: InvalidValue.
    """
    document = parse_json(data, f"the answer of docker-credential-{helper}", LARGEST_FILE)
    user, secret = (document.get(key) if isinstance(document, dict) else None for key in ("Username", "Secret"))
    if not isinstance(user, str) or not isinstance(secret, str):
        raise InvalidValue(f"the answer of docker-credential-{helper} has no user and secret")
    return Credentials(identity_token=secret) if user == TOKEN_USER else Credentials(user, secret)


def key_of(host: str) -> str:
    """Under which key an entry of the host is written."""
    return DOCKER_KEY if host == DEFAULT_HOST else host


def place_of(key: str) -> str:
    """`host[:port][/path]` of a key in a file, which may be an address of docker's first protocol."""
    scheme, separator, rest = key.partition("://")
    place = (rest if separator and scheme in ("http", "https") else key).rstrip("/")
    for version in ("/v1", "/v2"):
        place = place.removesuffix(version)
    host, slash, path = place.partition("/")
    return (DEFAULT_HOST if host in ("index.docker.io", "registry-1.docker.io") else host) + slash + path


def _places(host: str, path: str) -> Iterator[str]:
    while path:
        yield f"{host}/{path}"
        path = path.rpartition("/")[0]
    yield host


def _entry(value: object, what: str) -> Credentials | None:
    if not isinstance(value, dict):
        raise InvalidValue(f"{what} is not an object")
    token, auth = value.get("identitytoken") or "", value.get("auth") or ""
    user, password = value.get("username") or "", value.get("password") or ""
    if not all(isinstance(text, str) for text in (token, auth, user, password)):
        raise InvalidValue(f"{what} is invalid")
    if auth:
        user, password = _decoded(auth, what)
    return Credentials(user, "" if token else password, token) if token or password else None


def _decoded(auth: str, what: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidValue(f"{what} is invalid: auth must be base64 of user:password") from error
    user, colon, password = text.partition(":")
    if not colon:
        raise InvalidValue(f"{what} is invalid: auth must be base64 of user:password")
    return user, password.strip("\0")


def _helper(value: object, what: str) -> str:
    """It becomes a part of a program's name."""
    if not isinstance(value, str) or not _HELPER.issuperset(value):
        raise InvalidValue(f"{what} names a credential helper that cannot be one")
    return value


def _without(auths: Mapping[str, Any], host: str) -> dict[str, Any]:
    return {key: value for key, value in auths.items() if place_of(key) != host}


def _document(data: bytes, what: str) -> dict[str, Any]:
    parse_auth_file(data, what)
    return dict(parse_json(data, what, LARGEST_FILE)) if data.strip() else {}


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n"
