"""Configuration: defaults, then /etc/lading/config.toml, then the environment. Read once, by the composition root."""

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from domain.errors import InvalidValue

DEFAULT_CONFIG = "/etc/lading/config.toml"
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_VARIABLES = {
    "data_root": "LADING_DATA_ROOT",
    "run_dir": "LADING_RUN_DIR",
    "host": "LADING_HOST_NAME",
    "nats_url": "LADING_NATS_URL",
    "failpoints": "LADING_FAILPOINTS",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`log_retention_hours`: how long output outlives its container. `nats_url` empty: the embedded server.
    `nats_credentials`: a file `user:password` for an external server."""

    data_root: Path = Path("/var/lib/lading")
    run_dir: Path = Path("/run/lading")
    host: str = ""
    nats_url: str = ""
    nats_credentials: str = ""
    log_retention_hours: float = 168.0
    failpoints: str = ""

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.run_dir / "lading.sock"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises: InvalidValue, naming file and key."""
    values = _file(Path(environ.get("LADING_CONFIG") or DEFAULT_CONFIG), given="LADING_CONFIG" in environ)
    values.update({key: environ[name] for key, name in _VARIABLES.items() if environ.get(name)})
    values["host"] = host_token(str(values.get("host") or socket.gethostname()))
    for key in ("data_root", "run_dir"):
        if key in values:
            values[key] = _absolute(key, str(values[key]))
    return Settings(**values)


def host_token(name: str) -> str:
    """A host name as one token of a subject: lower case, other characters become `-`."""
    return "".join(c if c in _HOST else "-" for c in name.lower())[:63] or "localhost"


def _absolute(key: str, text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise InvalidValue(f"{key} must be an absolute path, not {text!r}")
    return path


def _file(path: Path, *, given: bool) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if given:
            raise InvalidValue(f"the configuration file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise InvalidValue(f"the configuration file {path} cannot be read: {error}") from error
    known = {field.name: field.type for field in fields(Settings)}
    for key, value in values.items():
        if key not in known:
            raise InvalidValue(f"{path}: unknown key {key!r}", hint=f"known keys: {', '.join(sorted(known))}")
        if not isinstance(value, (int, float) if key == "log_retention_hours" else str):
            raise InvalidValue(f"{path}: {key} has the wrong type: {value!r}")
    return values
