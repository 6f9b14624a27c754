r"""What the daemon and the small process inside say to each other. Standard library only.

Requests come on standard input, answers go to standard error; both are frames, the size in four bytes and then fields
that end in NUL. The archive that `pack` asks for comes on standard output, after its answer the process ends; the one
that `spread` brings follows the request.

    \0\0\0\x11 look\0/etc/hosts\0\0          found\0file\0 644\0 120\0\0
    pack\0/etc\0etc\0 fine\0                 done\0 entries\0 bytes\0 shrunk\0
    spread\0/srv\0owners,devices\0           done\0 entries\0 left out\0\0
                                             missing\0 | refused\0 why\0 | failed\0 why\0
"""

LONGEST = 1 << 16


def packed(*fields: bytes) -> bytes:
    """One frame."""
    body = b"".join([field.replace(b"\0", b"?") + b"\0" for field in fields])
    return len(body).to_bytes(4, "big") + body


def unpacked(body: bytes) -> list[bytes]:
    """The fields of a frame without its size."""
    return body.split(b"\0")[:-1]
