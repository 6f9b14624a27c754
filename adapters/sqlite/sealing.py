"""Sealed fields: AES-256-GCM under one key per stream, in a table whose deleted rows are overwritten.

The ciphertext is `nonce (12 bytes) | encrypted | tag`, bound to the stream and the version of its event. It is part of
the payload, so the chain covers it; dropping the key makes it unreadable and changes no hash.
"""

import os
from functools import cache
from typing import TYPE_CHECKING

from adapters.sqlite.tables import KEYS, select_sql
from domain.messages import StreamId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_OF = select_sql(KEYS, "stream", columns=("key",))

_NONCE = 12


def new_key() -> bytes:
    """A key for one stream."""
    return os.urandom(32)


def seal(key: bytes, stream: StreamId, version: int, plain: bytes) -> bytes:
    """Encrypt the sealed fields of the event at `version`."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, plain, _bound_to(stream, version))


def unseal(key: bytes, stream: StreamId, version: int, ciphertext: bytes) -> bytes:
    """Decrypt; empty when the key is not the one the value was sealed with (that one was dropped)."""
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], _bound_to(stream, version))
    except InvalidTag:
        return b""


def warm_up() -> None:
    """Import the cipher before the first secret comes: it costs some 40 ms, which the start must not pay."""
    _cipher(bytes(32))


@cache
def _gcm() -> "type[AESGCM]":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM


def _cipher(key: bytes) -> "AESGCM":
    return _gcm()(key)


def _bound_to(stream: StreamId, version: int) -> bytes:
    return f"{stream}|{version}".encode()
