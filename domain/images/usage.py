"""What images take on the disk: which layers they share, and what each has to itself. Pure.

Sizes are those of the files in a layer, as `images` shows them. A layer (its chain id) is there once, whoever has it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.images.model import Image


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of one image: in layers that other images have as well, and in its own."""

    shared: int
    unique: int


def shares(images: Iterable[Image]) -> Mapping[str, Share]:
    """For each image, by its id."""
    known = {image.id: {layer.chain_id: layer.size for layer in image.layers} for image in images}
    users = Counter(chain for layers in known.values() for chain in layers)
    return {
        id: Share(
            shared=sum(size for chain, size in layers.items() if users[chain] > 1),
            unique=sum(size for chain, size in layers.items() if users[chain] == 1),
        )
        for id, layers in known.items()
    }


@dataclass(frozen=True, slots=True)
class Node:
    """One layer, or a run of layers without a fork (`count`), and what lies on top of it. `images` end here."""

    chain: str
    size: int
    count: int
    images: tuple[str, ...]
    above: "tuple[Node, ...]" = ()


def forest(images: Iterable[Image]) -> tuple[Node, ...]:
    """Images as trees of the layers they share; lowest layers first, forks in the order of the images."""
    known = tuple(images)
    return _grown([(image.id, tuple((layer.chain_id, layer.size) for layer in image.layers)) for image in known])


_Rest = tuple[str, tuple[tuple[str, int], ...]]


def _grown(rests: list[_Rest]) -> tuple[Node, ...]:
    groups: dict[str, list[_Rest]] = {}
    for id, layers in rests:
        if layers:
            groups.setdefault(layers[0][0], []).append((id, layers))
    return tuple(_node(group) for group in groups.values())


def _node(group: list[_Rest]) -> Node:
    """As long as all go the same way and nobody ends, it is one node."""
    size = count = 0
    while True:
        chain, own = group[0][1][0]
        size, count = size + own, count + 1
        ended = tuple(id for id, layers in group if len(layers) == 1)
        group = [(id, layers[1:]) for id, layers in group]
        if ended or len({layers[0][0] for _, layers in group}) > 1:
            return Node(chain, size, count, ended, _grown(group))


def percent(part: int, whole: int) -> str:
    """`1.2MB (50%)`'s second half; nothing of nothing is nothing."""
    return f" ({part * 100 // whole}%)" if whole else ""
