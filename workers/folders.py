"""The folders of an engine, and who may enter them."""

from pathlib import Path

from workers.settings import Settings

STATE, LOGS, STORE, CONTAINERS, VOLUMES, TEMPORARY = "state", "logs", "store", "containers", "volumes", "tmp"
"""Folders of the data root; `lading.db` lies beside them."""


def make_folders(settings: Settings) -> None:
    """The data root and what is in it; nobody else may enter these."""
    _make(settings.data_root, 0o710)
    for name in (STATE, LOGS, STORE, CONTAINERS, VOLUMES, TEMPORARY):
        _make(settings.data_root / name, 0o700)


def make_run_dir(settings: Settings) -> None:
    """It is passed through on the way to the socket."""
    _make(settings.run_dir, 0o711)


def _make(path: Path, mode: int) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
