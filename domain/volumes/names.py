"""What a volume may be called. Standard library only."""

from domain.errors import InvalidValue

CONTENTS = "_data"
"""What is called so in a volume's directory is what containers see."""
LONGEST = 200  # its directory is called so, and others beside it with something appended (NAME_MAX is 255)
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


def volume_name(text: str) -> str:
    """A valid name. Raises: InvalidValue, naming what was typed."""
    if 2 <= len(text) <= LONGEST and text[0] in _FIRST and all(character in _REST for character in text):
        return text
    hint = "use letters, digits and _.-, two at least, beginning with a letter or a digit"
    if "/" in text:
        hint = "a directory of the host begins with a slash: -v /srv/data:/data"
    raise InvalidValue(f"{text!r} includes invalid characters for a local volume name", hint=hint)
