"""The engine itself: is it there, and which one is it?"""

import platform

from workers.gateway.call import Answer, Call, Reply
from workers.gateway.routes import NEWEST, OLDEST, Route


async def _ping(call: Call) -> Answer:
    """For clients that want to know the newest version both sides speak."""
    headers = (
        ("Builder-Version", "1"),
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    )
    return Reply(body=b"OK", kind="text/plain; charset=utf-8", headers=headers)


async def _version(call: Call) -> Answer:
    facts = await call.engine.info()
    newest, oldest = (f"{version[0]}.{version[1]}" for version in (NEWEST, OLDEST))
    details = {
        "ApiVersion": newest,
        "Arch": _architecture(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": str(facts["KernelVersion"]),
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    return Reply(document={
        "Platform": {"Name": "Lading"},
        "Components": [{"Name": "Engine", "Version": call.engine.version, "Details": details}],
        "Version": call.engine.version,
        **{key: value for key, value in details.items() if key != "Experimental"},
    })


def _architecture() -> str:
    """As Go spells it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


ROUTES = (
    Route("GET", "/_ping", _ping),
    Route("GET", "/version", _version),
)
