"""The host's own stream: when the engine began, what it found, when it ended."""

from pydantic import Field

from domain.messages import Event


class HostStarted(Event, stored_as="host-started.v1"):
    """A daemon has opened the log; `versions` of the engine, SQLite, kernel and nats-server."""

    boot: str
    versions: dict[str, str] = Field(default_factory=dict)


class Recovered(Event, stored_as="recovered.v1"):
    """The log and the kernel agree again; `counts` says what it took."""

    counts: dict[str, int] = Field(default_factory=dict)


class HostStopped(Event, stored_as="host-stopped.v1"):
    """The daemon has ended in good order."""

    reason: str = ""
