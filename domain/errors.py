"""Every error that may pass from one room to another; the class says what the caller should do.

LadingError
├── Refused            tell the user: the wish breaks a rule (exit status 1, or 125 from `run`)
│   ├── InvalidValue   a flag, name, reference or file has a value that cannot be meant
│   ├── NameTaken      the name belongs to another object
│   ├── StepFailed     a step of a build has failed (its own exit status)
│   └── InUse          the object is needed by another one
├── NotFound           nothing has that name or id
│   └── Ambiguous      an id prefix that fits more than one object
├── Conflict           somebody appended first: load and decide again
├── IllegalTransition  the fold met an event that its state does not allow: a defect, never a wish
├── CommandFailed      the command could not be executed in the container (exit status 126 or 127)
├── KernelError        a system call failed: append the …Failed event
├── StorageError       the disk or the database refused: stop accepting, keep containers running
│   └── NewerStore     the data root was written by a newer version
└── Unavailable        a part of the engine does not answer at the moment: try again

`hint` is one line that says how to mend it. Messages are one line, name the value, and hold no control characters
of foreign text (`domain.text.safe` escapes those).
"""


class LadingError(Exception):
    """Root of the tree; `str(error)` is the line a user reads."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(LadingError):
    """A rule of the domain says no."""


class InvalidValue(Refused):
    """The value itself cannot be meant."""


class NameTaken(Refused):
    """The name belongs to `holder` (an id)."""

    def __init__(self, message: str, *, holder: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder


class StepFailed(Refused):
    """The command of a build's step has ended with `exit_code`, or could not be executed."""

    def __init__(self, message: str, *, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class InUse(Refused):
    """Another object needs this one."""


class NotFound(LadingError):
    """Nothing has that name or id."""


class Ambiguous(NotFound):
    """More than one object fits the id prefix."""


class Conflict(LadingError):
    """The stream has grown since it was read."""


class IllegalTransition(LadingError):
    """An event that the state does not allow."""


class CommandFailed(LadingError):
    """The first process could not be executed; `exit_code` is 126, 127 or 125."""

    def __init__(self, message: str, *, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class KernelError(LadingError):
    """A system call failed on `path` with `errno` during `stage`."""

    def __init__(self, message: str, *, errno: int = 0, stage: str = "", path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
        self.stage = stage
        self.path = path


class StorageError(LadingError):
    """The disk or the database refused to keep something."""


class NewerStore(StorageError):
    """The data root was written by a newer version of the engine."""


class Unavailable(LadingError):
    """A part of the engine does not answer at the moment."""


class NoResponders(Unavailable):
    """Nobody on the bus listens to a subject at all."""
