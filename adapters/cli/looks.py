"""The client's side of a look at a path: what it is, and where it leads if it is a link that is to be followed.

Apart from what copies need: most of these questions come before there is anything to copy.
"""

import posix

_KINDS = {0o100000: b"file", 0o040000: b"directory", 0o120000: b"link"}
_TYPE = 0o170000


def look_all(words: list[bytes]) -> bytes:
    """Of several, each with whether it is followed, one after the other."""
    return b"\0".join(look(words[at], words[at + 1]) for at in range(0, len(words), 2))


def look(follow: bytes, path: bytes) -> bytes:
    """What it is and where: of a link that is followed, also if nothing is there yet, where it leads."""
    try:
        if follow == b"1":
            import posixpath

            end = b"/" if path.endswith((b"/", b"/.")) else b""
            path = posixpath.realpath(path) + end
        mode = posix.lstat(path).st_mode
    except OSError:
        return b"missing\0" + path
    return _KINDS.get(mode & _TYPE, b"other") + b"\0" + path
