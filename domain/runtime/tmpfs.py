"""Options of `--tmpfs path:options`: mount flags and the data string for the kernel, from a list of known words."""

from domain.errors import InvalidValue

_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_NOATIME, _NODIRATIME, _RELATIME, _STRICTATIME = 1024, 2048, 1 << 21, 1 << 24
_SET = {"ro": _RDONLY, "nosuid": _NOSUID, "nodev": _NODEV, "noexec": _NOEXEC, "noatime": _NOATIME,
        "nodiratime": _NODIRATIME, "relatime": _RELATIME, "strictatime": _STRICTATIME}
_CLEAR = {"rw": _RDONLY, "suid": _NOSUID, "dev": _NODEV, "exec": _NOEXEC, "atime": _NOATIME, "diratime": _NODIRATIME}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_HINT = "known are size=, nr_inodes=, mode=, uid=, gid= and ro, exec, suid, dev with their opposites"
_FORBIDDEN = ("/proc", "/sys")


def target(path: str) -> str:
    """The cleaned absolute path. Raises InvalidValue for `/`, relative ones and what the engine mounts itself."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    clean = "/" + "/".join(parts)
    if not path.startswith("/") or not parts or ".." in parts or "\0" in path:
        raise InvalidValue(f"invalid tmpfs path: {path!r}", hint="give an absolute path below / without ..")
    if clean == "/dev" or any(clean == root or clean.startswith(root + "/") for root in _FORBIDDEN):
        raise InvalidValue(f"a tmpfs cannot be mounted on {path!r}", hint="/dev, /proc and /sys belong to the engine")
    return clean


def options(text: str) -> tuple[int, str, bool]:
    """(mount flags, data, whether a mode was given) of `size=64m,exec`. Raises InvalidValue."""
    flags, data = _NOSUID | _NODEV | _NOEXEC, {}
    for word in filter(None, text.split(",")):
        key, equals, value = word.partition("=")
        if equals:
            data[key] = _value(key, value, word)
        elif word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        else:
            raise InvalidValue(f"invalid tmpfs option {word!r}", hint=_HINT)
    return flags, ",".join(f"{key}={value}" for key, value in data.items()), "mode" in data


def _value(key: str, value: str, word: str) -> str:
    digits = value.isascii() and value.isdigit() and len(value) < 20
    if key == "mode" and digits and len(value) <= 5 and not set(value) & set("89"):
        return value
    if key in ("uid", "gid", "nr_inodes") and digits and int(value) <= 2147483647:
        return value
    if key == "size" and value.endswith("%") and value[:-1].isascii() and value[:-1].isdigit():
        return value
    if key == "size":
        return str(_size(value.lower(), word))
    raise InvalidValue(f"invalid tmpfs option {word!r}", hint=_HINT)


def _size(value: str, word: str) -> int:
    number = value.rstrip("kmgtb")
    unit = value[len(number):].removesuffix("b") if len(value) - len(number) == 2 else value[len(number):]
    if not (number.isascii() and number.isdigit() and len(number) < 20) or unit not in _UNITS:
        raise InvalidValue(f"invalid tmpfs option {word!r}", hint="a size is a number with an optional k, m, g or t")
    return int(number) * _UNITS[unit]
