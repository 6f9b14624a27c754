"""Sealed fields: AES-256-GCM under one key per stream, in a table whose deleted rows are overwritten.

The ciphertext is `nonce (12 bytes) | encrypted | tag`, bound to the stream and the version of its event. It is part of
the payload, so the chain covers it; dropping the key makes it unreadable and changes no hash.
"""

import os
import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from adapters.sqlite.tables import KEYS, delete_sql, insert_sql, select_sql
from domain.messages import StreamId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_OF = select_sql(KEYS, "stream", columns=("key",))
ADD_KEY = insert_sql(KEYS)
DROP_KEY = delete_sql(KEYS, "stream")

_NONCE = 12


def seal(connection: sqlite3.Connection, stream_id: int, stream: StreamId, version: int, plain: bytes) -> bytes:
    """Encrypt under the stream's key, which is made now if there is none."""
    found = connection.execute(KEY_OF, (stream_id,)).fetchone()
    key = os.urandom(32) if found is None else found[0]
    if found is None:
        connection.execute(ADD_KEY, (stream_id, key))
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
