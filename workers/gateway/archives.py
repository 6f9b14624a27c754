"""What a path in a container is, as `X-Docker-Container-Path-Stat` tells it: base64 of

    {"name":"hosts","size":174,"mode":420,"mtime":"2026-11-25T16:11:02Z","linkTarget":""}

`mode` has the bits of Go's os.FileMode.
"""

import base64
import io
import json
import tarfile
from collections.abc import AsyncIterator

from domain.copying import Found, base, linked
from domain.ports.files import Access
from domain.text.times import ZERO, rfc3339
from domain.text.units import SECOND

_GO_BITS = {tarfile.DIRTYPE: 1 << 31, tarfile.SYMTYPE: 1 << 27, tarfile.FIFOTYPE: 1 << 25, tarfile.BLKTYPE: 1 << 26,
            tarfile.CHRTYPE: (1 << 26) | (1 << 21)}
_SPECIAL = {0o4000: 1 << 23, 0o2000: 1 << 22, 0o1000: 1 << 20}
_ENOUGH = 16 * 1024
"""Bytes in which the first header of an archive lies, also one with long names."""


async def stat(access: Access, path: str, found: Found) -> str:
    """The header's value; what `look` does not know stands in the first header of an archive of it."""
    first = await _first(access.pack(path, base(path)))
    document = {
        "name": _name(path),
        "size": first.size,
        "mode": mode(first),
        "mtime": rfc3339(int(first.mtime) * SECOND),
        "linkTarget": linked(found) if found.kind == "link" else "",
    }
    return base64.b64encode(json.dumps(document).encode()).decode()


def place(path: str) -> str:
    """The header's value for a directory that the first start will make."""
    document = {"name": _name(path), "size": 0, "mode": 0o755 | _GO_BITS[tarfile.DIRTYPE], "mtime": ZERO,
                "linkTarget": ""}
    return base64.b64encode(json.dumps(document).encode()).decode()


def _name(path: str) -> str:
    return base(path) if base(path) != "." else path.rstrip("/.").rpartition("/")[2] or "/"


def mode(entry: tarfile.TarInfo) -> int:
    """Permissions and kind, in Go's bits."""
    special = sum(ours for bit, ours in _SPECIAL.items() if entry.mode & bit)
    return (entry.mode & 0o777) | special | _GO_BITS.get(entry.type, 0)


async def _first(pieces: AsyncIterator[bytes]) -> tarfile.TarInfo:
    data = b""
    async for piece in pieces:
        data += piece
        if len(data) >= _ENOUGH:
            break
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as archive:
        entry = archive.next()
    assert entry is not None, "an archive of something holds something"
    return entry
