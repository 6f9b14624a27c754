"""exec: one more process in a running container, with the container's own confinement."""

from domain.errors import CommandFailed
from domain.options import flag, many, one
from domain.text.safe import safe
from workers.console.creation import environment
from workers.console.streams import DETACH_KEYS, Left, Wiring, attached, detach_keys, require_terminal, size
from workers.console.verb import Example, Invocation, Verb
from workers.requests import ExecRequest


async def _exec(invocation: Invocation) -> int:
    options, call, engine = invocation.options, invocation.call, invocation.engine
    detach, tty = options.flag("detach"), options.flag("tty")
    stdin = options.flag("interactive") and not detach
    keys = detach_keys(options.text("detach-keys"))
    require_terminal(call, stdin=stdin, tty=tty)
    name, *command = invocation.arguments
    id = await engine.resolve(name)
    env, unset = await environment(invocation)
    wanted = ExecRequest(
        command=tuple(command),
        env=env,
        unset=unset,
        user=options.text("user"),
        workdir=options.text("workdir"),
        tty=tty,
        stdin=stdin,
        privileged=options.flag("privileged"),
    )
    try:
        exec_id = await engine.exec(id, wanted, invocation.who, size=size(call.terminal, tty=tty), watched=not detach)
    except CommandFailed as error:
        if detach:
            raise
        # As the industry's engines do it: the reason takes the place of what the command would have written.
        await invocation.say(f"exec failed: {safe(error.message)}")
        return error.exit_code
    return 0 if detach else await _together(invocation, id, exec_id, Wiring(stdin=stdin, tty=tty, once=True, keys=keys))


async def _together(invocation: Invocation, id: str, exec_id: str, wiring: Wiring) -> int:
    engine = invocation.engine
    frames = engine.exec_output(id, exec_id)
    left = await attached(invocation.call, engine, id, wiring, frames, exec_id=exec_id)
    if left is Left.DETACHED:
        await invocation.warn("read escape sequence")
        return 1
    return await engine.exec_exit(id, exec_id) if left is Left.ENDED else 0


VERB = Verb(
    name="exec",
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    summary="Execute a command in a running container",
    run=_exec,
    least=2,
    interspersed=False,
    group="Common Commands",
    also=("container exec",),
    options=(
        flag("detach", "d", "Let it run in the background"),
        DETACH_KEYS,
        many("env", "e", "Set an environment variable; NAME alone takes your own value", value="NAME[=VALUE]"),
        many("env-file", "", "Read environment variables from a file", value="file"),
        flag("interactive", "i", "Connect your standard input"),
        flag("privileged", "", "Give it all capabilities"),
        flag("tty", "t", "Give it a terminal"),
        one("user", "u", "User and group: name, uid, name:group or uid:gid", value="user"),
        one("workdir", "w", "Working directory inside the container", value="directory"),
    ),
    notes=(
        "The command goes on when its client goes away, and ends with the container. The exit status is that of the\n"
        "command; 127: not found, 126: not executable."
    ),
    examples=(
        Example("lading exec -it web sh", "a shell in a container that runs"),
        Example("lading exec web cat /etc/hosts", "one command and its status"),
        Example("lading exec -i db restore < dump", "feed it from a file"),
    ),
)
