"""Who the first process is: `user[:group]` against the container's own passwd and group files, read as bytes.

    user        ""  |  name  |  uid  |  name:group  |  uid:gid  |  :group
    passwd line root:x:0:0:root:/root:/bin/sh
    group line  wheel:x:10:root,ann

The rules: digits are a number even where a name looks the same; numbers end at 2147483647; an unknown name is an error,
an unknown number is gid 0 and home `/`; supplementary groups come from the group file unless a group was given, and
always hold the primary one. Broken lines are skipped. No name service is asked.
"""

from collections.abc import Sequence

from domain.errors import CommandFailed

LARGEST_FILE = 1 << 20
"""How much of passwd or group is looked at; what lies beyond is not seen."""
LARGEST_ID = 2147483647
_LONGEST_LINE = 65536
_MOST_GROUPS = 65536


class Account:
    """The answer: numeric ids, all supplementary groups (sorted, with `gid`), and the home directory."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
        self.uid, self.gid, self.groups, self.home = uid, gid, groups, home


def resolve(user: str, passwd: bytes, group: bytes, groups: Sequence[str] = ()) -> Account:
    """Find the account, which is in `groups` (names or numbers) as well. Raises CommandFailed (125): no such name,
    number out of range, or a malformed `user`."""
    raw = user.encode("utf-8", "surrogateescape")
    wanted, colon, wanted_group = raw.partition(b":")
    if b":" in wanted_group or (colon and not wanted_group):
        raise _refused(f"invalid user: {user!r}")
    entry = _passwd_entry(passwd, wanted or b"0")
    uid = entry[1] if entry else _number(wanted or b"0")
    if uid is None:
        raise _refused(f"unable to find user {_shown(wanted)}: no matching entries in passwd file")
    gid, home = entry[2:] if entry else (0, b"/")
    if colon:
        gid = _group_id(group, wanted_group)
        extra: set[int] = set()
    else:
        extra = _memberships(group, entry[0]) if entry else set()
    extra |= {_group_id(group, name.encode("utf-8", "surrogateescape")) for name in groups}
    return Account(uid, gid, tuple(sorted(extra | {gid})), home.decode("utf-8", "surrogateescape") or "/")


def _refused(message: str) -> CommandFailed:
    return CommandFailed(message, exit_code=125)


def _shown(name: bytes) -> str:
    return ascii(name.decode("utf-8", "replace"))[1:-1]


def _number(text: bytes) -> int | None:
    """The id that `text` spells, None when it is a name. Raises: CommandFailed."""
    if not text.isdigit():
        return None
    value = int(text) if len(text) <= 20 else LARGEST_ID + 1
    if value > LARGEST_ID:
        raise _refused(f"uids and gids must be in range 0-{LARGEST_ID}")
    return value


def _id_of_field(text: bytes) -> int | None:
    """An id in a file: None for everything that is no number in range."""
    return int(text) if text.isdigit() and len(text) <= 10 and int(text) <= LARGEST_ID else None


def _lines(content: bytes) -> list[bytes]:
    """The whole lines within the limits."""
    seen = content[:LARGEST_FILE]
    return (seen if len(content) <= LARGEST_FILE else seen[: seen.rfind(b"\n") + 1]).split(b"\n")


def _passwd_entry(passwd: bytes, wanted: bytes) -> tuple[bytes, int, int, bytes] | None:
    """(name, uid, gid, home) of the first good line with that name or, for digits, that uid."""
    uid = _number(wanted)
    for line in _lines(passwd):
        if uid is None and not line.startswith(wanted + b":"):
            continue
        fields = line.split(b":") if len(line) <= _LONGEST_LINE else []
        if len(fields) < 6 or not fields[0]:
            continue
        found, gid = _id_of_field(fields[2]), _id_of_field(fields[3])
        if found is not None and gid is not None and uid in (None, found):
            return fields[0], found, gid, fields[5]
    return None


def _group_id(group: bytes, wanted: bytes) -> int:
    number = _number(wanted)
    if number is not None:
        return number
    for line in _lines(group):
        if line.startswith(wanted + b":") and len(line) <= _LONGEST_LINE:
            fields = line.split(b":")
            found = _id_of_field(fields[2]) if len(fields) >= 3 else None
            if found is not None:
                return found
    raise _refused(f"unable to find group {_shown(wanted)}: no matching entries in group file")


def _memberships(group: bytes, name: bytes) -> set[int]:
    """Ids of the groups that list `name`, at most as many as setgroups(2) takes."""
    found: set[int] = set()
    for line in _lines(group):
        if name not in line or len(line) > _LONGEST_LINE:
            continue
        fields = line.split(b":")
        gid = _id_of_field(fields[2]) if len(fields) >= 4 else None
        if gid is not None and len(found) < _MOST_GROUPS - 1 and name in fields[3].split(b","):
            found.add(gid)
    return found
