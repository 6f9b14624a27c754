"""Digests, and the two names of a layer: what it is (diff id) and what it is on top of (chain id).

A diff id is the digest of the uncompressed tar. The chain id of the lowest layer is its diff id; every higher one is
the digest of the text `CHAIN-BELOW SP DIFF-ID` (OCI image-spec, config.md).
"""

import hashlib
import re
from collections.abc import Sequence

from domain.errors import InvalidValue
from domain.text.safe import safe

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def checked_digest(value: object) -> str:
    """The digest as it is, when it is `sha256:` and 64 hex digits: only then it may become part of a path.

    Raises: InvalidValue.
    """
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value
    shown = safe(str(value))[:100]
    raise InvalidValue(f'invalid digest: "{shown}"', hint="only sha256: with 64 lower-case hex digits is supported")


def is_digest(value: object) -> bool:
    """Whether `checked_digest` would accept it."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def digest_of(data: bytes) -> str:
    """The digest of exactly these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest. Raises: InvalidValue."""
    return checked_digest(digest).removeprefix("sha256:")


def chain_id(below: str, diff_id: str) -> str:
    """The chain id of a layer on top of the chain `below` (empty: it is the lowest)."""
    return digest_of(f"{below} {diff_id}".encode("ascii")) if below else diff_id


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain ids of a stack, lowest first."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(chain_id(chains[-1] if chains else "", checked_digest(diff_id)))
    return tuple(chains)
