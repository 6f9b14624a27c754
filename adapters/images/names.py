"""Names of entries in layers: cleaned, and those that are marks for something removed. Standard library only."""

from adapters.tar.reader import LONGEST_NAME, Damaged

MARK = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
META_MARK = b".wh..wh."


class Unusable(Damaged):
    """An entry that cannot be meant."""


def clean(name: bytes) -> list[bytes]:
    """The components of a name, `..` stopping at the root. Raises: Unusable."""
    if len(name) > LONGEST_NAME:
        raise Unusable("its name is too long")
    if b"\0" in name:
        raise Unusable("its name holds a NUL byte")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            parts[-1:] = []
        elif part and part != b".":
            parts.append(part)
            if len(part) > 255:
                raise Unusable("a part of its name is longer than 255 bytes")
    return parts


def is_plain(name: bytes) -> bool:
    """Whether a last component means just itself."""
    return 0 < len(name) <= 255 and not name.startswith(MARK) and name not in (b".", b"..") and b"\0" not in name
