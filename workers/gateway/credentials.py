"""Who a client is for registries, as it says in headers: base64url of JSON.

    X-Registry-Auth: {"username": "ann", "password": "…", "serveraddress": "reg.example.com"}      or an identitytoken
    X-Registry-Config: {"reg.example.com": {"username": "ann", "password": "…"}, "https://index.docker.io/v1/": …}
"""

import base64
import binascii
import json
from typing import Any

from domain.errors import InvalidValue
from domain.images.credentials import ANONYMOUS, AuthFile, Credentials, parse_auth_file

AUTH, CONFIG = "x-registry-auth", "x-registry-config"
_ONE = "client"


def one(text: str) -> Credentials:
    """Of X-Registry-Auth; nobody's when it says nothing. Raises: InvalidValue, without quoting it."""
    return of_document(_decoded(text, "X-Registry-Auth"), "X-Registry-Auth")


def of_document(given: dict[str, Any], what: str) -> Credentials:
    """Of an object with a user and a password or a token. Raises: InvalidValue."""
    if given.get("registrytoken"):
        raise InvalidValue(f"{what}: registrytoken is not supported by Lading, identitytoken is")
    return _file({_ONE: given}, what).find(_ONE) or ANONYMOUS


def several(text: str) -> AuthFile:
    """Of X-Registry-Config. Raises: InvalidValue, without quoting it."""
    return _file(_decoded(text, "X-Registry-Config"), "X-Registry-Config")


def _file(entries: dict[str, Any], what: str) -> AuthFile:
    return parse_auth_file(json.dumps({"auths": entries}).encode("utf-8", "replace"), what)


def _decoded(text: str, what: str) -> dict[str, Any]:
    try:
        plain = text.strip().rstrip("=")
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
        found = json.loads(data) if data.strip() else None
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} is invalid: it must be base64url of a JSON object") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidValue(f"{what} is invalid: it must be base64url of a JSON object")
    return found
