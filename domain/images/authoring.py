"""Config documents that we write ourselves, for `import` and `commit`. Pure: one input, one digest, on every host."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.images.changes import apply_changes
from domain.images.config import Settings, history, parse_settings, rfc3339
from domain.images.manifest import Platform
from domain.images.model import Image

IMPORTED = "Imported from -"


@dataclass(frozen=True, slots=True)
class Step:
    """What the history says about a new layer."""

    author: str = ""
    message: str = ""
    created_by: str = ""


def imported(changes: Sequence[str], diff_id: str, now: int, message: str, platform: Platform) -> bytes:
    """The config of an image with one layer from a tar. Raises: InvalidValue for a change that cannot be meant."""
    document = _platform(platform) | {
        "created": rfc3339(now),
        "config": apply_changes(Settings(), changes).document(),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [_entry(now, Step(message=message or IMPORTED))],
    }
    return _bytes(document)


def committed(
    parent: Image, config: dict[str, object], diff_id: str, now: int, step: Step, platform: Platform
) -> bytes:
    """The config of an image with one more layer; `config` is the inner part, complete. Raises: InvalidValue."""
    kept = {key: parent.config[key] for key in ("architecture", "os", "variant", "os.version") if key in parent.config}
    document = (kept or _platform(platform)) | {
        "created": rfc3339(now),
        "config": parse_settings(config).document(),
        "rootfs": {"type": "layers", "diff_ids": [*(layer.diff_id for layer in parent.layers), diff_id]},
        "history": [*history(parent.config), _entry(now, step)],
    }
    if step.author:
        document["author"] = step.author
    return _bytes(document)


def built(
    base: dict[str, Any], settings: Settings, layers: Sequence[str], entries: Sequence[dict[str, Any]], created: str,
    author: str, platform: Platform,
) -> dict[str, Any]:
    """The config document of a built image: `base` is that of what it was built on, `layers` are all diff ids."""
    kept = {key: base[key] for key in ("architecture", "os", "variant", "os.version") if key in base}
    document = (kept or _platform(platform)) | {
        "created": created,
        "config": settings.document(),
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
        "history": list(entries),
    }
    if author or base.get("author"):
        document["author"] = author or base["author"]
    return document


def config_bytes(document: dict[str, Any]) -> bytes:
    """Exactly the bytes that an image of this config is called by."""
    return _bytes(document)


def _platform(platform: Platform) -> dict[str, Any]:
    document: dict[str, Any] = {"architecture": platform.architecture, "os": "linux"}
    return document | ({"variant": platform.variant} if platform.variant else {})


def _entry(now: int, step: Step) -> dict[str, str]:
    texts = {"author": step.author, "created_by": step.created_by, "comment": step.message}
    return {"created": rfc3339(now)} | {key: text for key, text in texts.items() if text}


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
