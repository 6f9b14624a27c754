"""Small files of the kernel that are settings: read as a whole, written in one write."""

import os


def read(path: str) -> str:
    """All of it. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """In one piece, as the kernel wants it. Raises: OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
