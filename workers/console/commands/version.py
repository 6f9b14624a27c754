"""version: which version of the client and of the engine answers."""

import platform
from typing import TypeAlias

from domain.options import one
from domain.text.safe import safe, safe_json
from domain.text.template.apply import render
from workers.console.errors import Unreachable
from workers.console.verb import Example, Invocation, Verb

_API = "1.50"
Facts: TypeAlias = dict[str, str]


async def _version(invocation: Invocation) -> int:
    form = invocation.options.text("format")
    client = _client(invocation.engine.version)
    try:
        server, nobody = _server(client, str((await invocation.engine.info())["KernelVersion"])), None
    except Unreachable as error:
        server, nobody = None, error
    facts = {"Client": client, "Server": server}
    if form == "json":
        await invocation.say(safe_json(facts))
    elif form:
        await invocation.say(render(form, facts))
    else:
        await invocation.out(_client_text(client) + ("\n" + _server_text(server) if server else ""))
    if nobody:
        raise nobody
    return 0


def _client(version: str) -> Facts:
    machine = platform.machine()
    return {
        "Version": version,
        "APIVersion": _API,
        "ApiVersion": _API,
        "DefaultAPIVersion": _API,
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "PythonVersion": platform.python_version(),
    }


def _server(client: Facts, kernel: str) -> Facts:
    return {**client, "MinAPIVersion": _API, "KernelVersion": kernel}


def _client_text(client: Facts) -> str:
    pairs = [
        ("Version:", client["Version"]),
        ("API version:", client["APIVersion"]),
        ("Python version:", client["PythonVersion"]),
        ("OS/Arch:", f"{client['Os']}/{client['Arch']}"),
    ]
    return "\n".join(["Client:", *(f" {key:<19}{safe(value)}" for key, value in pairs)]) + "\n"


def _server_text(server: Facts) -> str:
    pairs = [
        ("Version:", server["Version"]),
        ("API version:", server["APIVersion"]),
        ("Kernel version:", server["KernelVersion"]),
        ("OS/Arch:", f"{server['Os']}/{server['Arch']}"),
    ]
    lines = ["Server: Lading", " Engine:", *(f"  {key:<18}{safe(value)}" for key, value in pairs)]
    return "\n".join(lines) + "\n"


VERB = Verb(
    name="version",
    usage="[OPTIONS]",
    summary="Show the version",
    run=_version,
    most=0,
    options=(one("format", "f", "json, or a template like '{{.Server.Version}}'"),),
    examples=(
        Example("lading version", "client and engine"),
        Example("lading version -f '{{.Server.Version}}'", "only one"),
    ),
)
