"""Who `--chown` and USER mean, by the lists of the image itself. Pure."""

from domain.build.placing import Owner
from domain.errors import CommandFailed, InvalidValue
from domain.runtime.users import LARGEST_ID, resolve
from domain.text.safe import safe


def chown(text: str, passwd: bytes, group: bytes, what: str) -> Owner | None:
    """`user`, `user:group`, by names or numbers; a number alone is both. None for nothing. Raises: InvalidValue."""
    if not text:
        return None
    if text.isascii() and text.isdigit():
        if int(text[:12]) > LARGEST_ID:
            raise InvalidValue(f"{what}: {safe(text)[:50]} is out of range")
        return Owner(int(text), int(text))
    return user(text, passwd, group, what)


def user(text: str, passwd: bytes, group: bytes, what: str) -> Owner:
    """Who USER means. Raises: InvalidValue."""
    if not text:
        return Owner(0, 0)
    try:
        account = resolve(text, passwd, group)
    except CommandFailed as error:
        raise InvalidValue(f"{what}: {error.message}") from error
    return Owner(account.uid, account.gid)
