"""Carries out plans: `run_host` in the supervisor, `run_child` in the newborn child up to and including execve.

Steps come as they travel, JSON lists whose first item names the step; `domain.runtime.steps` has them with their
fields, the modules of `adapters.kernel.child` a function for each.

    group = run_host(document["host"], tree)                     # FileExistsError: the attempt was already acted on
    run_child(document["child"], Context(tasks=[4, 5], status=3))    # raises Failure, or never returns
"""

import os
from collections.abc import Callable, Iterable, Sequence
from errno import EINVAL

from adapters.kernel.cgroups import Group, Tree
from adapters.kernel.child import crossing, enter, execute, fill, identity, mounts, remap, root
from adapters.kernel.child.context import Context
from adapters.kernel.syscalls import encode, failed
from domain.errors import CommandFailed, KernelError, LadingError
from domain.failpoints import failpoint

__all__ = ["Context", "Failure", "as_error", "run_child", "run_host"]

_CHILD = (enter.STEPS | root.STEPS | fill.STEPS | mounts.STEPS | identity.STEPS | execute.STEPS | remap.STEPS
          | crossing.STEPS)


class Failure(Exception):
    """A step that failed in the child, as it travels to whoever asked.

    `exit_code` is 126 or 127 when the command could not be executed, else 125; `errno` 0 for a wish that breaks a rule.
    """

    def __init__(self, stage: str, errno: int, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.stage, self.errno, self.text, self.exit_code = stage, errno, text, exit_code


def as_error(stage: str, errno: int, text: str, exit_code: int) -> LadingError:
    """The error that a reported failure stands for."""
    if errno == 0 or exit_code in (126, 127):
        return CommandFailed(text, exit_code=exit_code)
    return KernelError(text, errno=errno, stage=stage)


def run_host(steps: Iterable[Sequence[object]], tree: Tree) -> Group:
    """Carry out the host's steps; returns the groups that `MakeGroup` made.

    Raises: FileExistsError when this attempt was already acted on (nothing was touched then), KernelError after which
    the groups are gone again.
    """
    group: Group | None = None
    try:
        for name, *values in steps:
            failpoint(f"host.{name}")
            if name == "MakeGroup":
                group = tree.create(*values)  # type: ignore[arg-type]  # from JSON: the plan made it
            elif name == "AllowDevices" and group is not None:
                group.allow_devices(*values)  # type: ignore[arg-type]
            else:
                _HOST[str(name)](*values)
    except OSError as error:
        if group is None:
            raise
        group.remove()
        raise failed("open", str(error.filename), error.errno or 0) from error
    except KernelError:
        if group is not None:
            group.remove()
        raise
    except (KeyError, TypeError, ValueError) as error:  # no plan looks like this: whoever sent it hears so
        if group is not None:
            group.remove()
        raise failed("plan", ascii(str(error)), EINVAL) from error
    if group is None:
        raise failed("mkdir", "control group", EINVAL)
    return group


def _make_directory(path: str, mode: int) -> None:
    """The umask must not take part."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)


def _write_file(path: str, content: str, mode: int) -> None:
    """All of it: of a write to a full disk, a part may succeed (write(2))."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(encode(content))
    except OSError as error:
        raise failed("write", path, error.errno or 0) from error


_HOST: dict[str, Callable[..., None]] = {"MakeDirectory": _make_directory, "WriteFile": _write_file}


def run_child(steps: Iterable[Sequence[object]], context: Context) -> None:
    """Carry out the child's steps. Raises: Failure; does not return when the last step is `Execute`."""
    for name, *values in steps:
        failpoint(f"child.{name}")
        try:
            _CHILD[str(name)](context, *values)
        except KernelError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            raise Failure(str(name), error.errno, text, 125) from error
        except CommandFailed as error:
            raise Failure(str(name), 0, error.message, error.exit_code) from error
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise Failure(str(name), error.errno or 0, f"{name}{where}: {error.strerror}", 125) from error
