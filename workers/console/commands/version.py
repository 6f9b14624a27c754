"""version: which version of the client and of the engine answers."""

import platform

from domain.options import one
from domain.text.safe import safe, safe_json
from domain.text.template.apply import render
from workers.console.verb import Example, Invocation, Verb

_API = "1.50"


async def _version(invocation: Invocation) -> int:
    form = invocation.options.text("format")
    facts = _facts(invocation.engine.version)
    if form == "json":
        await invocation.say(safe_json(facts))
    elif form:
        await invocation.say(render(form, facts))
    else:
        await invocation.out(_text(facts))
    return 0


def _facts(version: str) -> dict[str, dict[str, str]]:
    system = platform.uname()
    common = {
        "Version": version,
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine),
        "PythonVersion": platform.python_version(),
    }
    common |= dict.fromkeys(("APIVersion", "ApiVersion"), _API)
    server = {**common, "MinAPIVersion": _API, "KernelVersion": system.release}
    return {"Client": {**common, "DefaultAPIVersion": _API}, "Server": server}


def _text(facts: dict[str, dict[str, str]]) -> str:
    client, server = facts["Client"], facts["Server"]
    left = [
        ("Version:", client["Version"]),
        ("API version:", client["APIVersion"]),
        ("Python version:", client["PythonVersion"]),
        ("OS/Arch:", f"{client['Os']}/{client['Arch']}"),
    ]
    right = [
        ("Version:", server["Version"]),
        ("API version:", server["APIVersion"]),
        ("Kernel version:", server["KernelVersion"]),
        ("OS/Arch:", f"{server['Os']}/{server['Arch']}"),
    ]
    lines = [
        "Client:",
        *(f" {key:<19}{safe(value)}" for key, value in left),
        "",
        "Server: Lading",
        " Engine:",
        *(f"  {key:<18}{safe(value)}" for key, value in right),
    ]
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
