"""gateway start: serve the Docker Engine API from now on."""

import posixpath

from domain.text.safe import safe
from workers.console.verb import Example, Invocation, Verb


async def _start(invocation: Invocation) -> int:
    path = invocation.arguments[0] if invocation.arguments else ""
    wanted = posixpath.join(invocation.call.cwd, path) if path else ""
    await invocation.say(safe(await invocation.engine.gateway.start(wanted)))
    return 0


VERB = Verb(
    name="gateway start",
    usage="[PATH]",
    summary="Serve the Docker Engine API on a unix socket",
    run=_start,
    most=1,
    notes="""\
Prints the path of the socket: that of the configuration, or docker.sock in the run directory, where none is given.
It is served until the daemon ends; `gateway = "PATH"` in the configuration, or LADING_GATEWAY, makes every daemon
serve it. Who may use the socket may do what root may do. What clients do is in the history, with user, process and
command line.""",
    examples=(
        Example("lading gateway start /run/docker.sock", "docker, compose and others find it there"),
        Example("export DOCKER_HOST=unix://$(lading gateway start)", "only for this shell"),
    ),
)
