"""The options of `run` and `create`, and how they become a request.

Files and variables are those of the client: the call is asked for them, nothing is looked up on the daemon's side.
"""

from collections.abc import Sequence
from typing import Literal, cast

from domain.errors import InvalidValue, LadingError
from domain.log_options import log_config
from domain.options import Option, OptionError, Parsed, flag, many, number, one, refused
from domain.signals import number as signal_number
from domain.spec import LogConfig, RestartName, RestartPolicy
from domain.text.safe import legible
from workers.console import checks, devices, isolation, limits, mounts, networks
from workers.console.call import Call
from workers.console.errors import UNREADABLE, Plain
from workers.console.platforms import platform
from workers.console.streams import STREAMS
from workers.console.verb import Invocation
from workers.requests import CreateRequest

Pull = Literal["missing", "never", "always"]
_LATER = (
    "--cpu-rt-period= --cpu-rt-runtime= --gpus= --use-api-socket"
)

OPTIONS: tuple[Option, ...] = (
    many("annotation", "", "Keep a note for tools with the container", value="KEY=VALUE"),
    many("attach", "a", "Connect only this stream: stdin, stdout or stderr", value="stream"),
    one("cidfile", "", "Write the container's id to a new file", value="file"),
    one("entrypoint", "", "Run this instead of the image's entrypoint", value="command"),
    many("env", "e", "Set an environment variable; NAME alone takes your own value, or none", value="NAME[=VALUE]"),
    many("env-file", "", "Read environment variables from a file", value="file"),
    one("hostname", "h", "Host name inside the container", value="name"),
    flag("init", "", "Put a tiny init in front that forwards signals and reaps processes"),
    flag("interactive", "i", "Keep its standard input open, and connect yours"),
    many("label", "l", "Attach a label", value="KEY[=VALUE]"),
    many("label-file", "", "Read labels from a file", value="file"),
    one("log-driver", "", "Where output is kept: local (default), json-file, none", value="driver"),
    many("log-opt", "", "How much of it: max-size=20m (of a file), max-file=5", value="NAME=VALUE"),
    one("name", "", "Name of the container; made up if none is given", value="name"),
    one("platform", "", "What the image must be for: OS/ARCHITECTURE[/VARIANT]", value="platform"),
    one("pull", "", "Get the image before: missing, never or always", value="when", default="missing"),
    flag("quiet", "q", "No progress, no notes"),
    flag("read-only", "", "Make the root file system read-only"),
    one(
        "restart",
        "",
        "When it ends: no, on-failure[:n], always, unless-stopped",
        value="policy",
        default="no",
    ),
    flag("rm", "", "Remove the container when it ends; its history stays"),
    one("stop-signal", "", "Signal that stops the container", value="signal"),
    number("stop-timeout", "", "Seconds between that signal and KILL (-1: wait for ever)"),
    many("tmpfs", "", "Mount a file system in memory", value="path[:options]"),
    flag("tty", "t", "Give it a terminal"),
    one("user", "u", "User and group: name, uid, name:group or uid:gid", value="user"),
    one("workdir", "w", "Working directory inside the container", value="directory"),
    *checks.OPTIONS,
    *devices.OPTIONS,
    *isolation.OPTIONS,
    *limits.OPTIONS,
    *mounts.OPTIONS,
    *networks.OPTIONS,
    *refused(_LATER),
    *refused("--storage-opt=", why="writable layers have no bound; --read-only with --tmpfs PATH:size=… has"),
    *refused("--cgroup-parent=", why="the engine finds, counts and kills containers by groups below its own"),
)


async def request(invocation: Invocation) -> CreateRequest:
    """What was asked for. Raises OptionError, Plain."""
    options, (image, *command) = invocation.options, invocation.arguments
    if not image:
        raise Plain('invalid reference format: ""', hint="name an image", status=UNREADABLE)
    env, unset = await environment(invocation)
    return CreateRequest(
        image=image,
        name=options.text("name"),
        command=tuple(command),
        entrypoint=_entrypoint(options.one("entrypoint")),
        env=env,
        unset=unset,
        runtime=options.text("runtime"),
        volume_driver=options.text("volume-driver") if options.has("volume-driver") else "",
        workdir=_workdir(options.text("workdir")),
        user=options.text("user"),
        hostname=options.text("hostname"),
        domainname=options.text("domainname"),
        labels=await _labels(invocation),
        annotations=_annotations(options.many("annotation")),
        init=options.flag("init"),
        read_only=options.flag("read-only"),
        tmpfs=_tmpfs(options.many("tmpfs")),
        stop_signal=_stop_signal(options.one("stop-signal")),
        stop_timeout=_stop_timeout(options.number("stop-timeout")),
        restart=_restart(options.text("restart"), auto_remove=options.flag("rm")),
        health=checks.health(options),
        networking=networks.networking(options),
        auto_remove=options.flag("rm"),
        log=_log(options),
        tty=options.flag("tty"),
        stdin=options.flag("interactive"),
        resources=limits.resources(options),
        mounts=mounts.mounts(options, invocation.call.cwd),
        volumes_from=mounts.volumes_from(options),
        stdin_once=options.flag("interactive") and not options.flag("detach"),
        devices=devices.devices(options),
        device_rules=devices.device_rules(options),
        ulimits=devices.ulimits(options),
        shm_size=devices.shm_size(options),
        oom_score_adj=devices.oom_score_adj(options),
        sysctls=devices.sysctls(options),
        isolation=devices.with_identity(await isolation.isolation(options, invocation.call), options),
        pull=_pull(options.text("pull")),
        platform=str(platform(options, status=UNREADABLE) or ""),
    )


def attached_streams(options: Parsed) -> tuple[frozenset[int], bool]:
    """The outputs that are to be shown, and whether the input is to be connected. Raises OptionError."""
    given = {name.lower(): name for name in options.many("attach")}
    for low, name in given.items():
        if low not in (*STREAMS, "stdin"):
            why = "valid streams are STDIN, STDOUT and STDERR"
            raise OptionError(f'invalid argument "{name}" for "-a, --attach" flag: {why}')
    outputs = frozenset(kind for name, kind in STREAMS.items() if not given or name in given)
    return outputs, options.flag("interactive") or "stdin" in given


def _log(options: Parsed) -> LogConfig:
    wishes: dict[str, str] = {}
    for item in options.many("log-opt"):
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise _bad(f"invalid log opt: '{item}'", "write it as NAME=VALUE: max-size=10m")
        wishes[name] = value
    try:
        return log_config(options.text("log-driver"), wishes)
    except InvalidValue as error:
        raise _bad(error.message, error.hint) from error


def _entrypoint(given: str | None) -> tuple[str, ...] | None:
    return None if given is None else (given,)


def _workdir(path: str) -> str:
    if path and not path.startswith("/"):
        raise _bad(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path


def _stop_signal(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        signal_number(text)
    except InvalidValue as error:
        raise _bad(error.message, error.hint) from error
    return text


def _stop_timeout(seconds: int | None) -> int | None:
    if seconds is not None and seconds < -1:
        raise _bad(f"invalid stop timeout: {seconds}", "give seconds, or -1 to wait for ever")
    return seconds


def _restart(text: str, *, auto_remove: bool) -> RestartPolicy:
    policy = restart_policy(text)
    if auto_remove and policy.name != "no":
        raise _bad("conflicting options: cannot specify both --restart and --rm")
    return policy


def restart_policy(text: str) -> RestartPolicy:
    """What `--restart` names. Raises Plain."""
    name, colon, count = text.partition(":")
    if name not in ("no", "on-failure", "always", "unless-stopped"):
        raise _bad(
            f"invalid restart policy: unknown policy '{text}'", "use no, on-failure[:n], always or unless-stopped"
        )
    if colon and name != "on-failure":
        raise _bad(f"invalid restart policy: maximum retry count cannot be used with restart policy '{name}'")
    if colon and not (count.isascii() and count.isdigit() and len(count) < 10):
        raise _bad(f"invalid restart policy: '{count}' is not a number of retries")
    return RestartPolicy(name=cast(RestartName, name), retries=int(count or "0"))


def _pull(text: str) -> Pull:
    if text not in ("missing", "never", "always"):
        raise _bad(f'invalid pull option: "{text}": must be one of "always", "missing" or "never"')
    return cast(Pull, text)


def _tmpfs(values: Sequence[str]) -> dict[str, str]:
    mounts: dict[str, str] = {}
    for value in values:
        path, _, options = value.partition(":")
        if not path.startswith("/") or path.rstrip("/") == "":
            raise _bad(f"invalid tmpfs '{value}': the path must be absolute and not '/'")
        mounts[path] = options
    return mounts


async def environment(invocation: Invocation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `--env-file` and `--env` say, in order, as `NAME=value`, and names of variables that are not to be: a name
    alone takes the client's own value, and where it has none, `--env` takes the variable of the image away.
    Raises OptionError, Plain."""
    items: list[str] = []
    for path in invocation.options.many("env-file"):
        items += _file_items(path, await _lines(invocation.call, path), "variable")
    for item in invocation.options.many("env"):
        if item.startswith("=") or not item:
            raise OptionError(f'invalid argument "{item}" for "-e, --env" flag: invalid environment variable: {item}')
        items.append(item)
    wanted = [item for item in items if "=" not in item]
    found = await invocation.call.getenv(tuple(dict.fromkeys(wanted))) if wanted else {}
    own = {name: f"{name}={legible(value)}" for name, value in found.items()}
    unset = tuple(item for item in invocation.options.many("env") if "=" not in item and item not in own)
    return tuple(own.get(item, item) for item in items if "=" in item or item in own), unset


async def _labels(invocation: Invocation) -> dict[str, str]:
    items: list[str] = []
    for path in invocation.options.many("label-file"):
        items += _file_items(path, await _lines(invocation.call, path), "label")
    items += invocation.options.many("label")
    labels: dict[str, str] = {}
    for item in items:
        key, _, value = item.partition("=")
        if not key:
            raise OptionError(f'invalid argument "{item}" for "-l, --label" flag: the key is empty')
        labels[key] = value
    return labels


def _annotations(items: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise OptionError(f'invalid argument "{item}" for "--annotation" flag: write it as KEY=VALUE')
        found[key] = value
    return found


def _file_items(path: str, lines: Sequence[str], what: str) -> list[str]:
    """Items of a file: no quoting, no trimming behind `=`; `#` begins a comment line."""
    items: list[str] = []
    for line in lines:
        item = line.lstrip(" \t")
        key, equals, _ = item.partition("=")
        if not item or item.startswith("#"):
            continue
        if not key or any(char.isspace() for char in key):
            why = f"{what} '{key}' contains whitespaces" if key else f"no {what} name on line '{item}'"
            raise Plain(f"invalid file {path}: {why}", status=UNREADABLE)
        items.append(item if equals or what == "variable" else f"{item}=")
    return items


async def _lines(call: Call, path: str) -> list[str]:
    try:
        content = b"".join([chunk async for chunk in call.open_file(path)])
    except LadingError as error:
        raise Plain(error.message, hint=error.hint, status=UNREADABLE) from error
    return [_text(path, line, at) for at, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)]


def _text(path: str, line: bytes, at: int) -> str:
    try:
        return line.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Plain(f"invalid file {path}: invalid utf8 bytes at line {at}", status=UNREADABLE) from error


def _bad(message: str, hint: str = "") -> Plain:
    return Plain(message, hint=hint, status=UNREADABLE)
