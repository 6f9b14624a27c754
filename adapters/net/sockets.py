"""The host's ends of published ports: one socket for each address, open for as long as the port is published.

It keeps the port from every other program, gets the kernel's own answer when somebody has it already, and leads to the
container what the rules do not: `[::1]`, and other addresses of a family that the container lacks.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.net.holders import holder, lent
from adapters.net.relays import Datagrams, Doorman, Relay, Stream
from domain.errors import Refused
from domain.network.ports import Binding, Publication, assign, clash

Run = tuple[str, int]
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
_BACKLOG = 1024
_TRIES, _PAUSE = 20, 0.005  # until a program that we are just starting has let go of what it inherited


@dataclass(slots=True)
class Held:
    """What one run holds; `relays` lead it on once the run is open."""

    bindings: tuple[Binding, ...] = ()
    sockets: dict[Binding, socket.socket] = field(default_factory=dict)
    relays: dict[Binding, Relay] = field(default_factory=dict)

    def close(self) -> None:
        """Everybody else may have the ports."""
        for relay in self.relays.values():
            relay.close()
        for each in self.sockets.values():
            each.close()


class Ports:
    """All of this engine. For any thread."""

    def __init__(self) -> None:
        self._held: dict[Run, Held] = {}
        self._last = 0
        self._lock = threading.RLock()
        self._doorman = Doorman()

    def reserve(self, run: Run, wanted: Sequence[Publication], preferred: Mapping[Publication, int]
                ) -> tuple[Binding, ...]:
        """See `domain.ports.NetworkDriver`."""
        with self._lock:
            if run in self._held:
                return self._held[run].bindings
            held = Held()
            low, high = map(int, _EPHEMERAL.read_text().split())
            try:
                held.bindings = assign(wanted, preferred, (low, high), self._last, ipv6=has_ipv6(),
                                       take=lambda bindings: self._take(bindings, held))
            except BaseException:
                held.close()
                raise
            if any(publication.host_port == 0 for publication in wanted):
                self._last = held.bindings[-1].host_port
            self._held[run] = held
            return held.bindings

    def hold(self, run: Run, bindings: Sequence[Binding]) -> list[str]:
        """Hold exactly these, as far as possible; returns what is not."""
        with self._lock:
            held = self._held.setdefault(run, Held())
            faults = []
            for binding in bindings:
                if binding not in held.sockets:
                    why = self._take((binding,), held)
                    faults += [why] if why else []
            held.bindings = tuple(bindings)
            return faults

    def serve(self, run: Run, targets: Mapping[int, str]) -> None:
        """Lead what arrives at the sockets to the container's addresses, by family, from now on."""
        with self._lock:
            held = self._held.get(run, Held())
            for binding, listener in held.sockets.items():
                version = 6 if ":" in binding.host_ip else 4
                address = targets.get(version) or targets.get(10 - version)
                target = (address, binding.port) if address is not None else None
                if binding in held.relays:
                    held.relays[binding].lead(target)
                else:
                    kind = Stream if binding.protocol == "tcp" else Datagrams
                    held.relays[binding] = kind(listener, target, self._doorman)

    def release(self, run: Run) -> None:
        """Let go of everything of a run."""
        with self._lock:
            held = self._held.pop(run, None)
        if held is not None:
            held.close()

    def runs(self) -> set[Run]:
        """Who holds something."""
        return set(self._held)

    def _take(self, bindings: Sequence[Binding], held: Held) -> str:
        """All or none of these; why not, or nothing."""
        found: dict[Binding, socket.socket] = {}
        for binding in bindings:
            why = self._conflict(binding, held)
            if not why:
                listener, why = _bound(binding)
            if why:
                for each in found.values():
                    each.close()
                return why
            assert listener is not None
            found[binding] = listener
        held.sockets |= found
        return ""

    def _conflict(self, binding: Binding, mine: Held) -> str:
        for run, held in self._held.items():
            if held is not mine and clash(binding, held.sockets) is not None:
                return f"{_where(binding)} is already published by container {run[0][:12]}"
        if clash(binding, mine.sockets) is not None:
            return f"{_where(binding)} is published twice by this container"
        return ""


def has_ipv6() -> bool:
    """Whether this host has any address of that family."""
    try:
        return bool(Path("/proc/net/if_inet6").read_text())
    except OSError:
        return False


def _where(binding: Binding) -> str:
    return f"host port {binding.host_port}/{binding.protocol} on {binding.host_ip}"


def _bound(binding: Binding) -> tuple[socket.socket | None, str]:
    """A socket on the host's side, or why there is none."""
    if binding.protocol not in _KINDS:
        raise Refused(f"the protocol {binding.protocol} cannot be published", hint="use tcp or udp")
    for _ in range(_TRIES):
        try:
            return _listening(binding), ""
        except OSError as error:
            refusal = error
        if refusal.errno != errno.EADDRINUSE or not lent(binding.protocol, binding.host_port):
            break
        time.sleep(_PAUSE)
    return None, _reason(binding, refusal)


def _listening(binding: Binding) -> socket.socket:
    """It listens at once: two sockets that are only bound may share a port (SO_REUSEADDR), one that listens does not.
    Raises OSError."""
    six = ":" in binding.host_ip
    found = socket.socket(socket.AF_INET6 if six else socket.AF_INET, _KINDS[binding.protocol] | socket.SOCK_CLOEXEC)
    try:
        if six:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if binding.protocol == "tcp":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((binding.host_ip, binding.host_port))
        if binding.protocol == "tcp":
            found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def _reason(binding: Binding, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = holder(binding.protocol, binding.host_port)
        return f"{_where(binding)} is in use by another program{f' ({who})' if who else ''}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {binding.host_ip} to publish on"
    return f"{_where(binding)} cannot be published: {os.strerror(error.errno or 0)}"
