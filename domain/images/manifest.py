"""Manifests and indexes of OCI and Docker, and the manifest.json of saved archives: foreign JSON, validated as data.

    index     {"schemaVersion": 2, "manifests": [{"digest": …, "size": …, "platform": {…}, "annotations": {…}}]}
    manifest  {"schemaVersion": 2, "config": {"digest": …, "size": …}, "layers": [{"digest": …, "size": …}]}
    saved     [{"Config": "….json", "RepoTags": ["app:v1"], "Layers": ["…/layer.tar", …]}]

A document is believed by its keys, not by a media type beside it; one that could be read in two ways is refused.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from domain.errors import InvalidValue, Refused
from domain.images.layer import checked_digest
from domain.text.safe import safe

LARGEST_MANIFEST = 4 << 20
LARGEST_CONFIG = 8 << 20
DEEPEST = 64
"""Levels of JSON; the documents need five."""
MOST_LAYERS = 500
"""The kernel's limit for lower layers of an overlay (`ovl_parse_param_lowerdir`)."""

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
"""What we read, in one header: registry 2.8 looks at one only, and converts to schema 1 what is not in it."""

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"

_CONFIG_TYPES = frozenset({"", OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream"})

_T = TypeVar("_T", bound="_Foreign")


def _absent(value: object) -> object:
    return {} if value is None else value


def _no_list(value: object) -> object:
    return () if value is None else value


class _Foreign(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)


Strings = Annotated[dict[str, str], BeforeValidator(_absent)]


class Platform(_Foreign):
    """What an image runs on."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(_Foreign):
    """A pointer to a blob: its digest and size are what must arrive."""

    media_type: str = Field(default="", alias="mediaType")
    digest: str
    size: Annotated[int, Field(ge=0)]
    annotations: Strings = Field(default_factory=dict)
    platform: Platform | None = None
    urls: Annotated[tuple[str, ...], BeforeValidator(_no_list)] = ()

    @property
    def foreign(self) -> bool:
        """Whether registries do not keep it themselves: Windows' base layers, mostly."""
        return "nondistributable" in self.media_type or "foreign" in self.media_type

    def model_post_init(self, context: object) -> None:
        """A digest that is not one never leaves this module."""
        checked_digest(self.digest)


class Manifest(_Foreign):
    """One image: its config and its layers, lowest first."""

    media_type: str = Field(default="", alias="mediaType")
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def kind(self) -> str:
        """The media type under which a registry takes it; documents that do not say it are OCI's."""
        return self.media_type or OCI_MANIFEST


class Index(_Foreign):
    """Several manifests, or indexes, to choose from."""

    media_type: str = Field(default="", alias="mediaType")
    manifests: tuple[Descriptor, ...]


class Saved(_Foreign):
    """One entry of an archive's manifest.json; the names are those of entries in the archive."""

    config: str = Field(alias="Config")
    tags: Annotated[tuple[str, ...], BeforeValidator(_no_list)] = Field(default=(), alias="RepoTags")
    layers: Annotated[tuple[str, ...], BeforeValidator(_no_list)] = Field(default=(), alias="Layers")


def parse_json(data: bytes, what: str, limit: int = LARGEST_MANIFEST) -> Any:
    """The JSON value of foreign bytes, free of what could not be stored again. Raises: InvalidValue."""
    if len(data) > limit:
        raise InvalidValue(f"{what} is too large: {len(data)} bytes, at most {limit} are read")
    try:
        value = json.loads(data.removeprefix(b"\xef\xbb\xbf"), parse_constant=_no_constant, object_pairs_hook=_once)
        _shallow(value)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # UnicodeError is a ValueError: lone surrogates
        raise InvalidValue(f"{what} is not valid JSON") from error
    return value


def parse_document(data: bytes, what: str) -> Manifest | Index:
    """The manifest or index in foreign bytes. Raises: Refused."""
    document = parse_json(data, what)
    if not isinstance(document, dict):
        raise InvalidValue(f"{what} is neither a manifest nor an index")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise Refused(
            f"{what} uses the 2015 image format (schema 1)", hint="pull it with an older docker and push it again"
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise Refused(f"{what} is ambiguous: a manifest and an index at once")
    _agrees(document, what)
    if "manifests" in document:
        return validated(Index, document, what)
    manifest = validated(Manifest, document, what)
    if manifest.config.media_type not in _CONFIG_TYPES:
        raise Refused(f"{what} is an OCI artifact of type {safe(manifest.config.media_type)[:100]}, not an image")
    return manifest


def _agrees(document: dict[str, Any], what: str) -> None:
    """What a document calls itself must be what its keys make of it."""
    media_type = document.get("mediaType") or ""
    wrong = {OCI_MANIFEST, DOCKER_MANIFEST} if "manifests" in document else {OCI_INDEX, DOCKER_LIST}
    if isinstance(media_type, str) and media_type in wrong:
        raise Refused(f"{what} is ambiguous: it calls itself {media_type}, and its contents are of the other kind")


def composed(config: Descriptor, layers: Sequence[Descriptor]) -> tuple[str, bytes]:
    """Media type and bytes of a manifest of our own, always the same for the same parts.

    Docker's schema 2, which every registry takes; OCI's for what that cannot say (zstd). `media_type` of the layers is
    OCI's here.
    """
    oci = any(layer.media_type == OCI_LAYER_ZSTD for layer in layers)
    kinds = {OCI_LAYER: DOCKER_LAYER, OCI_LAYER_GZIP: DOCKER_LAYER_GZIP}
    kind = OCI_MANIFEST if oci else DOCKER_MANIFEST
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": _pointer(config, OCI_CONFIG if oci else DOCKER_CONFIG),
        "layers": [_pointer(layer, layer.media_type if oci else kinds[layer.media_type]) for layer in layers],
    }
    return kind, json.dumps(document, separators=(",", ":")).encode()


def _pointer(descriptor: Descriptor, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "size": descriptor.size, "digest": descriptor.digest}


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8` or `arm64`, as `--platform` takes it. Raises: InvalidValue."""
    parts = text.lower().split("/")
    aliases = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"}
    if len(parts) == 1 and parts[0] != "linux":
        parts = ["linux", *parts]
    words = [part for part in parts if part not in aliases]
    if not 2 <= len(parts) <= 3 or not all(word.isascii() and word.isalnum() for word in words):
        shown = safe(text)[:100]
        raise InvalidValue(f'"{shown}" is not a platform', hint="write OS/ARCHITECTURE[/VARIANT]: linux/arm64")
    os, architecture, *variant = parts
    if os != "linux":
        raise InvalidValue(f"images for {safe(os)[:50]} cannot run here", hint="only linux")
    return Platform(os=os, architecture=aliases.get(architecture, architecture), variant="".join(variant))


def parse_saved(data: bytes) -> tuple[Saved, ...]:
    """The entries of an archive's manifest.json. Raises: Refused."""
    document = parse_json(data, "manifest.json")
    if document is None or document == []:
        raise Refused("the archive holds no image: its manifest.json is empty")
    if not isinstance(document, list):
        raise InvalidValue("manifest.json is not a list of images")
    return tuple(validated(Saved, entry, "manifest.json") for entry in document)


def validated(model: type[_T], document: object, what: str) -> _T:
    """A model from foreign data. Raises: InvalidValue with one line of text."""
    try:
        return model.model_validate(_frozen(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = safe(".".join(str(part) for part in first["loc"]))[:100]
        raise InvalidValue(f"{what} is invalid at {place or 'its top'}: {safe(first['msg'])[:200]}") from error


def choose(descriptors: Sequence[Descriptor], platform: Platform, what: str) -> Descriptor:
    """The entry of an index for `platform`. Raises: Refused, listing what is there."""
    real = [entry for entry in descriptors if not _attestation(entry)]
    for variant in _variants(platform):
        for entry in real:
            if _fits(entry.platform, platform, variant):
                return entry
    if len(real) == 1 and real[0].platform is None:
        return real[0]
    offered = ", ".join(sorted({safe(str(entry.platform or "unknown"))[:50] for entry in real})) or "nothing"
    raise Refused(f"{what} exists, but not for {platform}. It offers: {offered}")


def suits(offered: Platform, wanted: Platform) -> bool:
    """Whether an image for `offered` is one for `wanted`; one that says nothing is for everything."""
    return not offered.architecture or any(_fits(offered, wanted, variant) for variant in _variants(wanted))


def _attestation(entry: Descriptor) -> bool:
    return entry.platform is not None and entry.platform.os == "unknown"


def _fits(offered: Platform | None, wanted: Platform, variant: str) -> bool:
    if offered is None or (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return False
    # The variant that needs no saying: v8 on arm64, v1 on amd64.
    plain = {"arm64": "v8", "amd64": "v1"}.get(wanted.architecture, "")
    return (offered.variant or plain) == (variant or plain)


def _variants(platform: Platform) -> tuple[str, ...]:
    """The variants a machine can run, best first."""
    if platform.architecture == "arm":
        known = ("v8", "v7", "v6", "v5")
        return (*known[known.index(platform.variant) :], "") if platform.variant in known else ("v7", "v6", "v5", "")
    if platform.architecture == "amd64" and platform.variant in ("v4", "v3", "v2"):
        return ("v4", "v3", "v2", "")[("v4", "v3", "v2").index(platform.variant) :]
    return (platform.variant, "") if platform.variant else ("",)


def _frozen(document: object) -> object:
    """Lists become tuples: the models are strict and frozen."""
    if isinstance(document, list):
        return tuple(_frozen(item) for item in document)
    if isinstance(document, dict):
        return {key: _frozen(item) for key, item in document.items()}
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose key stands there twice means one thing to us and another to the next reader."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _shallow(value: object) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        level = [inner for outer in level for inner in _inside(outer)]


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
