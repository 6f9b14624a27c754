"""Which extended attributes travel in archives. Standard library only."""


def kept_attribute(key: bytes) -> bool:
    """Whether an extended attribute belongs to the file, and not to the file system it lies on or to a policy."""
    return key == b"security.capability" or (key.startswith(b"user.") and b".overlay." not in key)
