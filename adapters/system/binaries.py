"""The kernel's rules for programs that it does not execute itself (binfmt_misc)."""

from pathlib import Path

_FOLDER = Path("/proc/sys/fs/binfmt_misc")
_CONTROLS = frozenset({"status", "register"})


def rules() -> list[str]:
    """The text of every rule; none where that file system is not mounted, or the rules are switched off as a whole."""
    try:
        if (_FOLDER / "status").read_text().strip() != "enabled":
            return []
        return [rule.read_text() for rule in sorted(_FOLDER.iterdir()) if rule.name not in _CONTROLS]
    except OSError:
        return []
