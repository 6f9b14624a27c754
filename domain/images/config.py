"""The configuration of an image, as OCI and Docker write it: foreign data that is validated before anybody obeys it.

    {"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "author": "",
     "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": null, "User": "", "WorkingDir": "/", "Labels": {},
                "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM", "Healthcheck": {…}},
     "rootfs": {"type": "layers", "diff_ids": ["sha256:…"]},
     "history": [{"created": …, "created_by": "…", "comment": "…", "empty_layer": true}]}

`Settings` is the inner part. Docker's own fields (Healthcheck, OnBuild, Shell) are written into OCI configs, too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from domain import signals
from domain.errors import InvalidValue, Refused
from domain.images.layer import checked_digest
from domain.images.manifest import LARGEST_CONFIG, MOST_LAYERS, Platform, parse_json
from domain.text.safe import safe

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)")
LONGEST_USER = 256
LONGEST_PATH = 4095


@dataclass(frozen=True, slots=True)
class Settings:
    """How a container of the image is started. None for `command` and `entrypoint` means: not set.

    `env` holds NAME=value, each name once; `healthcheck` and what is in `other` are kept as they came.
    """

    env: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    workdir: str = ""
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    healthcheck: Mapping[str, Any] | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    other: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """As the config document spells it; empty parts are left out."""
        sets = {"Volumes": self.volumes, "ExposedPorts": self.ports}
        lists = {
            "Env": self.env,
            "Cmd": self.command,
            "Entrypoint": self.entrypoint,
            "OnBuild": self.on_build,
            "Shell": self.shell,
        }
        plain = {
            "User": self.user,
            "WorkingDir": self.workdir,
            "StopSignal": self.stop_signal,
            "Labels": dict(sorted((self.labels or {}).items())),
            "Healthcheck": self.healthcheck,
        }
        document = dict(self.other or {})
        document |= {key: list(value) for key, value in lists.items() if value is not None and value != ()}
        document |= {key: {name: {} for name in sorted(value)} for key, value in sets.items() if value}
        return dict(sorted((document | {key: value for key, value in plain.items() if value}).items()))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A validated config document: `document` with its inner part normalised, and what it says."""

    document: dict[str, Any]
    settings: Settings
    diff_ids: tuple[str, ...]
    created: int
    platform: Platform


def platform_of(document: Mapping[str, object]) -> Platform:
    """What an image with this config is for. Raises: InvalidValue."""
    return Platform(**{key: _text(document.get(key), key) for key in ("os", "architecture", "variant")})


def parse_config(data: bytes, what: str = "the image's config") -> Parsed:
    """The config in foreign bytes. Raises: Refused, naming the value that cannot be meant."""
    document = parse_json(data, what, LARGEST_CONFIG)
    if not isinstance(document, dict) or not isinstance(document.get("rootfs"), dict):
        raise InvalidValue(f"{what} is not an image configuration")
    settings = parse_settings(document.get("config"))
    platform = platform_of(document)
    if platform.os not in ("", "linux"):
        raise Refused(f"{what} is for the operating system {safe(platform.os)[:50]}; only linux images can run here")
    return Parsed(
        document=document | {"config": settings.document(), "history": history(document)},
        settings=settings,
        diff_ids=_diff_ids(document["rootfs"].get("diff_ids"), what),
        created=timestamp(document.get("created")),
        platform=platform,
    )


def parse_settings(value: object) -> Settings:
    """The inner part from foreign data. Raises: InvalidValue, naming the value."""
    if value is not None and not isinstance(value, dict):
        raise InvalidValue("the image's config is not an object")
    raw: dict[str, Any] = value or {}
    labels = raw.get("Labels") or {}
    return Settings(
        env=_environment(raw.get("Env")),
        command=_argv(raw.get("Cmd"), "Cmd"),
        entrypoint=_argv(raw.get("Entrypoint"), "Entrypoint"),
        user=user(_text(raw.get("User"), "User")),
        workdir=workdir(_text(raw.get("WorkingDir"), "WorkingDir")),
        volumes=tuple(sorted({volume(name) for name in _names(raw.get("Volumes"), "Volumes")})),
        ports=tuple(sorted({port for name in _names(raw.get("ExposedPorts"), "ExposedPorts") for port in ports(name)})),
        labels={_text(k, "Labels"): _text(v, "Labels") for k, v in _mapping(labels, "Labels").items()},
        stop_signal=stop_signal(_text(raw.get("StopSignal"), "StopSignal")),
        healthcheck=_mapping(raw.get("Healthcheck") or {}, "Healthcheck") or None,
        on_build=_argv(raw.get("OnBuild"), "OnBuild") or (),
        shell=_argv(raw.get("Shell"), "Shell") or (),
        other={key: inner for key, inner in raw.items() if key not in _KNOWN and inner},
    )


_KNOWN = frozenset(
    {
        "Env",
        "Cmd",
        "Entrypoint",
        "User",
        "WorkingDir",
        "Volumes",
        "ExposedPorts",
        "Labels",
        "StopSignal",
        "Healthcheck",
        "OnBuild",
        "Shell",
    }
)


def of_container(
    image: Settings,
    *,
    entrypoint: Sequence[str],
    command: Sequence[str],
    env: Sequence[str],
    workdir: str,
    user: str,
    labels: Mapping[str, str],
    stop_signal: str = "",
    healthcheck: Mapping[str, Any] | None = None,
) -> Settings:
    """What `commit` records: the container's own settings over those of its image; no triggers for builds.

    Without a `healthcheck` of the container that of its image is switched off.
    """
    return replace(
        image,
        entrypoint=tuple(entrypoint) or None,
        command=tuple(command) or None,
        env=merged_env(image.env, env),
        workdir=workdir,
        user=user,
        labels={**(image.labels or {}), **labels},
        stop_signal=stop_signal or image.stop_signal,
        healthcheck=healthcheck or ({"Test": ["NONE"]} if image.healthcheck else None),
        on_build=(),
    )


def merged_env(below: Iterable[str], above: Iterable[str]) -> tuple[str, ...]:
    """NAME=value items; a later one replaces an earlier one of its name where that stands."""
    merged = {item.partition("=")[0]: item for item in below}
    for item in above:
        merged[item.partition("=")[0]] = item
    return tuple(merged.values())


def user(text: str) -> str:
    """USER[:GROUP], names or numbers; who that is, only the root file system can say. Raises: InvalidValue."""
    if len(text) > LONGEST_USER or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InvalidValue(f'invalid user: "{safe(text)[:100]}"')
    return text


def workdir(text: str) -> str:
    """A clean absolute path, or empty. Raises: InvalidValue."""
    return absolute(text, "working directory") if text else ""


def volume(text: str) -> str:
    """A clean absolute path other than the root. Raises: InvalidValue."""
    path = absolute(text, "volume path") if text else "/"
    if path == "/":
        raise InvalidValue(f'invalid volume path: "{safe(text)[:100]}"', hint="a volume cannot be the root directory")
    return path


def absolute(text: str, what: str) -> str:
    """The path cleaned by its text alone, `..` stopping at the root. Raises: InvalidValue."""
    if "\0" in text or len(text) > LONGEST_PATH:
        raise InvalidValue(f'invalid {what}: "{safe(text)[:100]}"')
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def ports(text: str) -> tuple[str, ...]:
    """`80`, `80/udp` or `8000-8002/tcp` as single ports with protocol. Raises: InvalidValue."""
    match = _PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 0 < first <= last <= 65535:
        raise InvalidValue(f'invalid port: "{safe(text)[:100]}"', hint="use PORT[-PORT][/tcp|udp|sctp]")
    protocol = (match[3] or "tcp").lower()
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def stop_signal(text: str) -> str:
    """A signal's name or number as it was given, or empty. Raises: InvalidValue."""
    if text:
        signals.number(text)
    return text


def timestamp(value: object) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; 0 for none, for nonsense and for years before 1970."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return 0
    try:
        moment = datetime.fromisoformat(match[1].upper() + match[3].upper().replace("Z", "+00:00"))
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return 0
    return max(seconds, 0) * 10**9 + (int((match[2] or "0").ljust(9, "0")) if seconds >= 0 else 0)


def rfc3339(time: int) -> str:
    """The UTC text of nanoseconds since the epoch, with all nine digits."""
    seconds, fraction = divmod(time, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def history(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history entries that are objects; their texts stay as they are."""
    entries = document.get("history")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _diff_ids(value: object, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidValue(f"{what} has no list of layers")
    if len(value) > MOST_LAYERS:
        raise Refused(f"{what} has {len(value)} layers; the kernel takes {MOST_LAYERS}", hint="squash some of them")
    return tuple(checked_digest(item) for item in value)


def _environment(value: object) -> tuple[str, ...]:
    """Items without `=` set nothing and are left out, as the industry does."""
    items = [item for item in _argv(value, "Env") or () if "=" in item]
    for item in items:
        if item.startswith("="):
            raise InvalidValue(f'invalid environment variable in the image: "{safe(item)[:100]}"')
    return merged_env((), items)


def _argv(value: object, key: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise InvalidValue(f"{key} in the image's config is not a list")
    return tuple(_text(item, key) for item in items) or None


def _names(value: object, key: str) -> list[str]:
    """Docker writes sets as objects; some tools write lists."""
    names = value if isinstance(value, list) else list(_mapping(value or {}, key))
    return [_text(name, key) for name in names]


def _mapping(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue(f"{key} in the image's config is not an object")
    return value


def _text(value: object, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidValue(f"{key} in the image's config holds something that is not text: {safe(str(value))[:100]}")
    return value
