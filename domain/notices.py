"""Events as the industry's clients know them: `container die … (exitCode=0, image=alpine, name=web)`.

One stored event gives none, one or several notices; `Narrator` keeps the folds it needs for their attributes. Values of
environment variables are in none of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from domain.build.events import BuildCancelled, BuildFailed, BuildFinished, CacheDropped
from domain.container import LIVE, Container, State
from domain.images.events import ImageRegistered, ImageRemoved, Pulled, Pushed, Tagged, Untagged
from domain.lifecycle import MACHINE
from domain.lifecycle.attach import Attached
from domain.lifecycle.commit import CommitFailed, CommitRequested, Committed
from domain.lifecycle.create import Created
from domain.lifecycle.exec import ExecExited, ExecFailed, ExecRequested, ExecStarted
from domain.lifecycle.exit import Exited
from domain.lifecycle.files import CopiedIn, CopiedOut, Exported
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import SignalSent
from domain.lifecycle.network import Connected, Disconnected, NetworkGranted
from domain.lifecycle.pause import Paused
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.rename import Renamed
from domain.lifecycle.shortage import OomKilled
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.lifecycle.unpause import Unpaused
from domain.lifecycle.update import LimitsChanged, Updated
from domain.messages import Recorded
from domain.network.events import NetworkCreated, NetworkRemoved
from domain.redact import redacted
from domain.text.units import SECOND
from domain.volumes.events import VolumeClaimed, VolumeCreated, VolumeReleased, VolumeRemoved

_KILL = "9"
_OLD_KINDS = ("container", "image")
_IMAGE_ACTIONS = {"imported": "import", "loaded": "load", "committed": "commit", "built": "build"}


@dataclass(frozen=True, slots=True)
class Notice:
    """One line of `events`; `position` is that of the stored event it comes from."""

    kind: str
    action: str
    id: str
    attributes: Mapping[str, str]
    time: int
    position: int


def notice_document(notice: Notice) -> dict[str, object]:
    """One as the Docker Engine API tells it; times in s and ns. The names of its first version stand before those of
    today where it had them."""
    old: dict[str, object] = {"status": notice.action, "id": notice.id} if notice.kind in _OLD_KINDS else {}
    image = notice.attributes.get("image", "") if old else ""
    return {
        **old,
        **({"from": image} if image else {}),
        "Type": notice.kind,
        "Action": notice.action,
        "Actor": {"ID": notice.id, "Attributes": dict(sorted(notice.attributes.items()))},
        "scope": "local",
        "time": notice.time // SECOND,
        "timeNano": notice.time,
    }


@dataclass
class Narrator:
    """Tells records one after the other; records of a container must be complete from its creation on."""

    folds: dict[str, Container] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    """Running containers that stand still while an image is made of them."""

    def knows(self, id: str) -> bool:
        """Whether the beginning of the container's story was told."""
        return id in self.folds

    def tell(self, record: Recorded) -> tuple[Notice, ...]:
        """What the record is to clients."""
        if record.stream.kind == "container":
            return tuple(self._container(record))
        if record.stream.kind in ("image", "ref"):
            return tuple(_image(record))
        if record.stream.kind == "volume":
            return tuple(_volume(record))
        if record.stream.kind == "network":
            return tuple(_network(record))
        if record.stream.kind in ("build", "cache"):
            return tuple(_build(record))
        return ()

    def _container(self, record: Recorded) -> Iterator[Notice]:
        id, event = record.stream.key, record.event
        before = self.folds.get(id, Container(id=id))
        after = MACHINE.evolve(before, record)
        self.folds[id] = after
        yield from _networks(before, record)
        for action, more in self._actions(before, record):
            labels = after.spec.labels if after.spec else {}
            image = after.spec.image if after.spec else ""
            attributes = {**labels, "image": image, "name": after.name, **more}
            yield Notice("container", action, id, attributes, record.time, record.position)
        if isinstance(event, StartRequested):
            self.starts[id] = event.by
        if isinstance(event, Removed):
            self.folds.pop(id)
            self.starts.pop(id, None)

    def _actions(self, before: Container, record: Recorded) -> Iterator[tuple[str, Mapping[str, str]]]:
        match record.event:
            case Created():
                yield "create", {}
            case Started():
                yield "start", {}
                if self.starts.get(before.id) == "restart":
                    yield "restart", {}
            case StopRequested(signal=signal):
                yield "kill", {"signal": str(signal)}
            case SignalSent(signal=signal):
                yield "kill", {"signal": str(signal)}
            case RemoveRequested(force=True) if before.state in LIVE:
                yield "kill", {"signal": _KILL}
            case Exited():
                yield from _exit(before, record.event)
            case Paused():
                yield "pause", {}
            case Unpaused():
                yield "unpause", {}
            case Updated() | LimitsChanged():
                yield "update", {}
            case HealthChanged(status=status):
                yield f"health_status: {status}", {}
            case OomKilled():
                yield "oom", {}
            case Attached():
                yield "attach", {}
            case ExecRequested() | ExecStarted() | ExecFailed() | ExecExited():
                yield _exec(before, record.event)
            case Renamed(old=old):
                yield "rename", {"oldName": f"/{old}"}
            case CommitRequested(pause=True) if before.state is State.RUNNING:
                self.held.add(before.id)
                yield "pause", {}
            case Committed(image_id=image, reference=reference):
                yield "commit", {"comment": "", "imageID": image, "imageRef": reference}
                yield from self._let_go(before.id)
            case CommitFailed():
                yield from self._let_go(before.id)
            case CopiedOut(path=path):
                yield "archive-path", {"path": path}
            case CopiedIn(path=path):
                yield "extract-to-dir", {"path": path}
            case Exported():
                yield "export", {}
            case Removed():
                yield "destroy", {}

    def _let_go(self, id: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        if id in self.held:
            self.held.discard(id)
            yield "unpause", {}


def _exec(
    before: Container, event: ExecRequested | ExecStarted | ExecFailed | ExecExited
) -> tuple[str, Mapping[str, str]]:
    id = {"execID": event.exec_id}
    match event:
        case ExecRequested(exec=spec):
            return f"exec_create: {redacted(spec.argv)}", id
        case ExecStarted(exec_id=exec_id):
            execution = before.execs.get(exec_id)
            return f"exec_start: {redacted(execution.spec.argv) if execution else ''}", id
        case ExecFailed(exit_code=code) | ExecExited(code=code):
            return "exec_die", {**id, "exitCode": str(code)}


def _exit(before: Container, event: Exited) -> Iterator[tuple[str, Mapping[str, str]]]:
    if event.oom and not before.kills:  # else each of them was told
        yield "oom", {}
    stopping = before.state is State.STOPPING
    if stopping and event.signal == 9 and not event.oom:
        yield "kill", {"signal": _KILL}
    seconds = max(event.ended - before.started_at, 0) // 1_000_000_000 if event.ended and before.started_at else 0
    yield "die", {"execDuration": str(seconds), "exitCode": str(event.code)}
    if stopping:
        yield "stop", {}


def _build(record: Recorded) -> Iterator[Notice]:
    id = record.stream.key
    match record.event:
        case BuildFinished(image_id=image, references=references):
            names = {"name": references[0]} if references else {}
            yield Notice("builder", "build", id, {**names, "imageID": image}, record.time, record.position)
        case BuildFailed(reason=reason):
            yield Notice("builder", "fail", id, {"reason": reason}, record.time, record.position)
        case BuildCancelled(by=by):
            yield Notice("builder", "cancel", id, {"by": by}, record.time, record.position)
        case CacheDropped(freed=freed):
            yield Notice("builder", "prune", id, {"reclaimed": str(freed)}, record.time, record.position)


def _image(record: Recorded) -> Iterator[Notice]:
    match record.event:
        case ImageRegistered(how="pulled"):
            return  # the reference tells it, also when the image was here
        case Pulled():
            action, id, name = "pull", record.stream.key, record.stream.key
        case Pushed():
            action, id, name = "push", record.stream.key, record.stream.key
        case ImageRegistered(how=how, source=source):
            action, id, name = _IMAGE_ACTIONS.get(how, how), record.stream.key, source or record.stream.key
        case ImageRemoved():
            action, id, name = "delete", record.stream.key, record.stream.key
        case Tagged(image_id=image):
            action, id, name = "tag", image, record.stream.key
        case Untagged(image_id=image):
            action, id, name = "untag", image, record.stream.key
        case _:
            return
    yield Notice("image", action, id, {"name": name}, record.time, record.position)


def _volume(record: Recorded) -> Iterator[Notice]:
    """Claims are told as `mount` and `unmount`: from then on a container has it, and no more."""
    more: dict[str, str] = {}
    match record.event:
        case VolumeCreated():
            action = "create"
        case VolumeClaimed(container=container, targets=targets, read_only=read_only):
            action = "mount"
            more = {"container": container, "destination": ",".join(targets), "read/write": str(not read_only).lower()}
        case VolumeReleased(container=container):
            action, more = "unmount", {"container": container}
        case VolumeRemoved():
            action = "destroy"
        case _:
            return
    yield Notice("volume", action, record.stream.key, {"driver": "local", **more}, record.time, record.position)
def _networks(before: Container, record: Recorded) -> Iterator[Notice]:
    """What happens to the interfaces of a container: of the network, as clients have it; leaving comes before the end
    of the run."""
    action, interfaces = "disconnect", before.lease.interfaces if before.lease and before.leased else ()
    match record.event:
        case NetworkGranted(interfaces=interfaces):
            action = "connect"
        case Connected(attachment=attachment):
            found = (before.lease.on(attachment.id) if before.lease and before.leased else None)
            action, interfaces = "connect", (found,) if found else ()
        case Disconnected(interface=interface):
            interfaces = (interface,) if interface and before.leased else ()
        case Exited() | StartFailed():
            pass
        case _:
            return
    for each in interfaces:
        attributes = {"container": before.id, "name": each.network_name, "type": "bridge"}
        yield Notice("network", action, each.network, attributes, record.time, record.position)


def _network(record: Recorded) -> Iterator[Notice]:
    match record.event:
        case NetworkCreated(network=network):
            action, name, driver = "create", network.name, network.driver
        case NetworkRemoved(name=name, driver=driver):
            action = "destroy"
        case _:
            return
    yield Notice("network", action, record.stream.key, {"name": name, "type": driver}, record.time, record.position)
