"""info: facts about the engine and its host."""

from collections.abc import Mapping, Sequence

from domain.options import one
from domain.text.safe import safe, safe_json
from domain.text.template.apply import render
from domain.text.units import memory_size
from workers.console.errors import Unreachable
from workers.console.verb import Example, Invocation, Verb

_WORDS = {
    "ContainersRunning": "Running",
    "ContainersPaused": "Paused",
    "ContainersStopped": "Stopped",
    "ServerVersion": "Server Version",
    "Driver": "Storage Driver",
    "CgroupDriver": "Cgroup Driver",
    "CgroupVersion": "Cgroup Version",
    "KernelVersion": "Kernel Version",
    "OperatingSystem": "Operating System",
    "OSType": "OSType",
    "Architecture": "Architecture",
    "NCPU": "CPUs",
    "MemTotal": "Total Memory",
    "Name": "Name",
    "ID": "ID",
    "SecurityOptions": "Security Options",
    "DockerRootDir": "Data Root",
}


async def _info(invocation: Invocation) -> int:
    form = invocation.options.text("format")
    try:
        facts = dict(await invocation.engine.info())
    except Unreachable:
        if not form:
            await invocation.out(_text(invocation.engine.version, {}))
        raise
    if form == "json":
        await invocation.say(safe_json(facts))
    elif form:
        await invocation.say(render(form, facts, lines=True))
    else:
        await invocation.out(_text(invocation.engine.version, facts))
    return 0


def _text(version: str, facts: Mapping[str, object]) -> str:
    lines = ["Client:", f" Version:    {version}", "", "Server:"]
    for key, value in facts.items():
        inner = " " if key in ("ContainersRunning", "ContainersPaused", "ContainersStopped") else ""
        lines += _lines(f" {inner}{_WORDS.get(key, key)}", key, value)
    return "\n".join(lines) + "\n"


def _lines(label: str, key: str, value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [
            f"{label}:",
            *(line for name, below in value.items() for line in _lines(f"  {safe(str(name))}", "", below)),
        ]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [f"{label}:", *(f"  {safe(str(item))}" for item in value)]
    if key == "MemTotal" and isinstance(value, int):
        return [f"{label}: {memory_size(value)}"]
    return [f"{label}: {safe(str(value)) if not isinstance(value, bool) else str(value).lower()}"]


VERB = Verb(
    name="info",
    usage="[OPTIONS]",
    summary="Show facts about the engine and its host",
    run=_info,
    most=0,
    also=("system info",),
    options=(one("format", "f", "json, or a template like '{{.ServerVersion}}'"),),
    reads="info",
    examples=(Example("lading info", "everything"), Example("lading info -f '{{.Driver}}'", "one fact")),
)
