"""Makes saved images of all generations, with layers from `tars`."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from tests.adapters.images.tars import Member, archive, directory, file, symlink


def sha(data: bytes) -> str:
    """The hex digits of a digest."""
    return hashlib.sha256(data).hexdigest()


def config(layers: Sequence[bytes], **inner: Any) -> bytes:
    """The config of an image with these uncompressed layers."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-02T03:04:05.5Z",
            "config": inner,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}" for layer in layers]},
        }
    ).encode()


def named(name: str, data: bytes | str) -> Member:
    """A file of the archive."""
    return file(name, data.encode() if isinstance(data, str) else data)


def docker_archive(
    layers: Sequence[bytes], tags: Sequence[str] | None = ("app:v1",), *, document: bytes = b""
) -> bytes:
    """As docker saved before 25."""
    document = document or config(layers)
    names = [f"{number}/layer.tar" for number, _ in enumerate(layers)]
    manifest = [{"Config": f"{sha(document)}.json", "RepoTags": tags, "Layers": names}]
    return archive(
        *(named(name, layer) for name, layer in zip(names, layers, strict=True)),
        named(f"{sha(document)}.json", document),
        named("manifest.json", json.dumps(manifest)),
    )


def podman_archive(layers: Sequence[bytes], tags: Sequence[str]) -> bytes:
    """As podman saves: blobs, links to them, and manifest.json last."""
    document = config(layers)
    members: list[Member] = []
    names = []
    for number, layer in enumerate(layers):
        members += [
            named(f"{sha(layer)}.tar", layer),
            directory(f"{number}"),
            symlink(f"{number}/layer.tar", f"../{sha(layer)}.tar"),
        ]
        names.append(f"{number}/layer.tar")
    manifest = [{"Config": f"{sha(document)}.json", "RepoTags": tags, "Layers": names}]
    return archive(*members, named(f"{sha(document)}.json", document), named("manifest.json", json.dumps(manifest)))


class Layout:
    """An OCI layout that grows."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.index: list[dict[str, Any]] = []

    def blob(self, data: bytes, media: str = "") -> dict[str, Any]:
        """Keep the data; gives back its descriptor."""
        self.blobs[sha(data)] = data
        return {"mediaType": media, "digest": f"sha256:{sha(data)}", "size": len(data)}

    def image(
        self, layers: Sequence[bytes], stored: Sequence[bytes] | None = None, document: bytes = b""
    ) -> dict[str, Any]:
        """A manifest over layers that may be stored compressed; gives back its descriptor."""
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(document or config(layers), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(layer, "application/vnd.oci.image.layer.v1.tar") for layer in stored or layers],
        }
        return self.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")

    def add(self, descriptor: dict[str, Any], name: str = "", **more: Any) -> None:
        """List it in index.json."""
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        self.index.append({**descriptor, "annotations": annotations, **more})

    def tar(self, *more: Member) -> bytes:
        """The whole archive."""
        index = json.dumps({"schemaVersion": 2, "manifests": self.index})
        return archive(
            named("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
            named("index.json", index),
            *(named(f"blobs/sha256/{digits}", data) for digits, data in self.blobs.items()),
            *more,
        )
