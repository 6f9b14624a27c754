"""The folders of an engine, and who may enter them."""

from workers.settings import Settings

STATE, LOGS, STORE, CONTAINERS, VOLUMES, TEMPORARY = "state", "logs", "store", "containers", "volumes", "tmp"
"""Folders of the data root; `lading.db` lies beside them."""


def make_folders(settings: Settings) -> None:
    """Nobody else may enter them. The run directory is passed through on the way to the socket."""
    for path, mode in (
        (settings.data_root, 0o710),
        *((settings.data_root / name, 0o700) for name in (STATE, LOGS, STORE, CONTAINERS, VOLUMES, TEMPORARY)),
        (settings.run_dir, 0o711),
    ):
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        path.chmod(mode)
