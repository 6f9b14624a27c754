"""Configuration: defaults, then /etc/lading/config.toml, then the environment. Read once, by the composition root."""

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import InvalidValue
from domain.images.registries import Registries, parse_registries
from domain.network.design import check_options
from domain.runtime.request import DEFAULT_IDS, IdRange

DEFAULT_CONFIG = "/etc/lading/config.toml"
_FEWEST_IDS, _NO_ID = 65536, 2**32 - 1
_LAST_PORT = 65535
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_VARIABLES = {
    "data_root": "LADING_DATA_ROOT",
    "run_dir": "LADING_RUN_DIR",
    "host": "LADING_HOST_NAME",
    "nats_url": "LADING_NATS_URL",
    "gateway": "LADING_GATEWAY",
    "failpoints": "LADING_FAILPOINTS",
}


class BusUser(BaseModel):
    """A user of the embedded server: `[nats_users.ann]` with `password` (may be a bcrypt hash) and `role`.

    `operator` may ask for anything, which equals root on this host; `reader` may only ask questions and hear events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    password: str = Field(min_length=8, repr=False)
    role: Literal["operator", "reader"] = "reader"


@dataclass(frozen=True, slots=True)
class Settings:
    """`userns`: `remap` gives every container a user namespace of its own unless it is told otherwise, with the ids
    `userns_ids` (`first:count`) of the host. `log_retention_hours`: how long output outlives its container.
    `firewall`: whether other firewalls of the host are told to let published ports through, or decide themselves.
    `publish_address`: the host's address for published ports that name none; empty for every one. `default_network`:
    options of the network that containers are on if nothing is said, as `network create -o` has them.
    `gateway`: where the Docker Engine API is served, for whom in `gateway_group`, and `gateway_listen` (`ADDRESS:PORT`)
    for clients elsewhere with a certificate that `gateway_authority` has signed.
    `access_log`: whether it is recorded who has only looked.
    `nats_url` empty: the embedded server. `nats_credentials`: a file `user:password` for an external server."""

    data_root: Path = Path("/var/lib/lading")
    run_dir: Path = Path("/run/lading")
    host: str = ""
    nats_url: str = ""
    nats_credentials: str = ""
    nats_users: tuple[BusUser, ...] = ()
    log_retention_hours: float = 168.0
    userns: str = "host"
    userns_ids: str = ""
    publish_address: str = ""
    firewall: Literal["open", "respect"] = "open"
    default_network: Mapping[str, str] = field(default_factory=dict)
    registries: Registries = field(default_factory=Registries)
    gateway: str = ""
    gateway_group: str = "lading"
    gateway_listen: str = ""
    gateway_certificate: str = ""
    gateway_key: str = ""
    gateway_authority: str = ""
    access_log: Literal["on", "off"] = "on"
    failpoints: str = ""

    @property
    def id_range(self) -> IdRange:
        """Which ids of the host remapped containers have."""
        return _id_range(self.userns_ids) if self.userns_ids else DEFAULT_IDS

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
    if values.get("userns", "host") not in ("host", "remap"):
        raise InvalidValue(f"userns must be host or remap, not {values['userns']!r}")
    if values.get("firewall", "open") not in ("open", "respect"):
        raise InvalidValue(f"firewall must be open or respect, not {values['firewall']!r}")
    if values.get("access_log", "on") not in ("on", "off"):
        raise InvalidValue(f"access_log must be on or off, not {values['access_log']!r}")
    if values.get("publish_address"):
        values["publish_address"] = _publish_address(str(values["publish_address"]))
    if values.get("gateway"):
        _absolute("gateway", str(values["gateway"]))
    if values.get("gateway_listen"):
        _checked_listen(values)
    settings = Settings(**values)
    _checked_range(settings.id_range)
    return settings


def host_token(name: str) -> str:
    """A host name as one token of a subject: lower case, other characters become `-`."""
    return "".join(c if c in _HOST else "-" for c in name.lower())[:63] or "localhost"


def _id_range(text: str) -> IdRange:
    first, _, count = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 11 for part in (first, count)):
        raise InvalidValue(f"userns_ids must be FIRST:COUNT, not {text!r}", hint='for example: "200000:65536"')
    return IdRange(int(first), int(count))


def _checked_range(ids: IdRange) -> None:
    if not (ids.first >= _FEWEST_IDS and ids.count >= _FEWEST_IDS and ids.first + ids.count <= _NO_ID):
        raise InvalidValue(
            f"userns_ids {ids.first}:{ids.count} cannot be used",
            hint="FIRST and COUNT are at least 65536, and all ids lie below 4294967295",
        )


def _checked_listen(values: Mapping[str, Any]) -> None:
    """Whoever may use the API is root on this host: over a network only with certificates on both sides."""
    host, _, port = str(values["gateway_listen"]).rpartition(":")
    if not host or not port.isdigit() or int(port) > _LAST_PORT:
        raise InvalidValue(f"gateway_listen must be ADDRESS:PORT, not {values['gateway_listen']!r}")
    missing = [key for key in ("gateway_certificate", "gateway_key", "gateway_authority") if not values.get(key)]
    if missing:
        raise InvalidValue(f"gateway_listen needs {' and '.join(missing)}",
                           hint="clients elsewhere prove themselves by a certificate: see docs/gateway.md")


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
    known = {entry.name: entry.type for entry in fields(Settings)}
    for key, value in values.items():
        if key not in known:
            raise InvalidValue(f"{path}: unknown key {key!r}", hint=f"known keys: {', '.join(sorted(known))}")
        if key in ("nats_users", "registries", "default_network"):
            continue
        if not isinstance(value, (int, float) if key == "log_retention_hours" else str):
            raise InvalidValue(f"{path}: {key} has the wrong type: {value!r}")
    values["registries"] = parse_registries(values.get("registries", {}), str(path))
    values["default_network"] = _options(path, values.get("default_network", {}))
    values["nats_users"] = _users(path, values.get("nats_users", {}))
    return values


def _options(path: Path, table: object) -> Mapping[str, str]:
    """The table `[default_network]`; what is no text is meant as it is written."""
    if not isinstance(table, dict) or not all(isinstance(value, (str, int)) for value in table.values()):
        raise InvalidValue(f"{path}: default_network must be a table of options", hint='icc = "false"')
    options = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in table.items()}
    try:
        check_options(options)
    except InvalidValue as error:
        raise InvalidValue(f"{path}: default_network: {error.message}", hint=error.hint) from error
    return options


def _publish_address(text: str) -> str:
    """One address of the host; 0.0.0.0 is every one, of both families."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidValue(f"publish_address must be an address, not {text!r}", hint="127.0.0.1") from error
    return "" if address.is_unspecified else str(address)


def _users(path: Path, table: object) -> tuple[BusUser, ...]:
    """The tables `[nats_users.NAME]`."""
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise InvalidValue(f"{path}: nats_users must be tables", hint="[nats_users.ann] with password and role")
    try:
        return tuple(BusUser(name=name, **entry) for name, entry in table.items())
    except (ValidationError, TypeError) as error:
        raise InvalidValue(f"{path}: nats_users: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Where and what, without the value: it may be a password."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
