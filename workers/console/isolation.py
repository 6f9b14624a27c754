"""The options of `run` and `create` that say how far a container is kept apart from the host."""

from domain.errors import InvalidValue, LadingError
from domain.isolation import Isolation, checked_isolation
from domain.options import Option, Parsed, UnsupportedError, flag, many, one
from domain.runtime import profile
from domain.runtime.request import UNCONFINED
from domain.spec import RUNTIMES
from workers.console.call import Call
from workers.console.errors import UNREADABLE, Plain

OPTIONS: tuple[Option, ...] = (
    many("cap-add", "", "Add a capability: NET_ADMIN, or ALL", value="capability"),
    many("cap-drop", "", "Drop a capability; counts before --cap-add", value="capability"),
    flag("privileged", "", "All capabilities and devices, no filter, nothing hidden: root on the host"),
    one("cgroupns", "", "Control groups as it sees them: private or host", value="mode"),
    one("ipc", "", "Shared memory and queues: private, shareable, none, host or container:NAME", value="mode"),
    one("isolation", "", "How containers are kept apart: default", value="technology"),
    one("pid", "", "Processes that it sees: host for all of this machine, or container:NAME", value="mode"),
    one("runtime", "", "Who starts it: lading, which also answers to runc", value="name"),
    one("uts", "", "Host name: host for that of this machine", value="mode"),
    many("security-opt", "", "seccomp=…, no-new-privileges, apparmor=…, systempaths=unconfined", value="option"),
)
_HINT = "known are seccomp=FILE, no-new-privileges, apparmor=PROFILE; seccomp, apparmor and systempaths=unconfined"


async def isolation(options: Parsed, call: Call) -> Isolation | None:
    """What was asked for, None for nothing; a profile is read from the client's files. Raises Plain, OptionError."""
    _refuse_other_ways(options)
    wished = Isolation(
        privileged=options.flag("privileged"), cap_add=options.many("cap-add"), cap_drop=options.many("cap-drop"),
        pid=options.text("pid"), ipc=options.text("ipc"), uts=options.text("uts"), cgroupns=options.text("cgroupns"))
    for text in options.many("security-opt"):
        wished = wished.model_copy(update=await _security(text, call))
    if wished == Isolation():
        return None
    try:
        checked_isolation(wished, apparmor=True)  # whether the host has it only the engine knows
    except InvalidValue as error:
        raise _bad(error.message, error.hint) from error
    return wished


def _refuse_other_ways(options: Parsed) -> None:
    """There is one way to start a container here, and it may be named."""
    runtime, technology = options.text("runtime"), options.text("isolation")
    if runtime not in RUNTIMES:
        raise _bad(f"unknown or invalid runtime name: {runtime}", "containers are started by lading itself")
    if technology not in ("", "default"):
        raise _bad(f"invalid isolation: {technology}", "on Linux it is default")


async def _security(text: str, call: Call) -> dict[str, object]:
    """One `--security-opt`; the old spelling has a colon for the first equals sign."""
    separator = "=" if "=" in text else ":"
    name, given, value = text.partition(separator)
    if name == "no-new-privileges" and (value in ("true", "false") or not given):
        return {"no_new_privileges": value != "false"}
    if name == "seccomp" and value:
        return {"seccomp": await _profile(value, call)}
    if name == "apparmor" and value:
        return {"apparmor": value}
    if (name, value) == ("systempaths", "unconfined"):
        return {"open_paths": True}
    if name == "label":
        raise UnsupportedError("--security-opt label is not supported by this version of lading: it has no SELinux")
    raise _bad(f"invalid --security-opt: {text!a}", _HINT)


async def _profile(value: str, call: Call) -> str:
    if value in (UNCONFINED, "builtin"):
        return "" if value == "builtin" else value
    content = b""
    try:
        async for chunk in call.open_file(value):
            content += chunk
            if len(content) > profile.LONGEST:
                raise _bad(f"seccomp profile {value!a} is longer than {profile.LONGEST >> 10} KiB")
        if not content:
            raise _bad(f"seccomp profile {value!a} is empty")
        return content.decode()
    except LadingError as error:
        raise _bad(f"opening seccomp profile failed: {error.message}", error.hint) from error
    except UnicodeDecodeError as error:
        raise _bad(f"seccomp profile {value!a} is not UTF-8") from error


def _bad(message: str, hint: str = "") -> Plain:
    return Plain(message, hint=hint, status=UNREADABLE)
