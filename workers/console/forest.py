"""Images as trees of the layers that they share, for `images --tree`.

    5ebdec2502cd  1.98MB            busybox:latest
    ├─ 9be1107c5d22  12MB           web:1.1, web:latest
    └─ a1b2c3d4e5f6  3MB, 2 layers  job:1
"""

from collections.abc import Iterator, Mapping, Sequence

from domain.images.model import Registered
from domain.images.usage import Node, forest
from domain.text.safe import safe
from domain.text.table import width
from domain.text.units import human_size


def lines(entries: Sequence[Registered]) -> Sequence[str]:
    """The trees, in the order of the images; on the right what names the image that ends there."""
    names = {entry.image.id: _names(entry) for entry in entries}
    pairs = [pair for node in forest(entry.image for entry in entries) for pair in _lines(node, "", "", names)]
    pairs += [(f"{'<no layers>':12}", names[entry.image.id]) for entry in entries if not entry.image.layers]
    widest = max((width(left) for left, _ in pairs), default=0)
    return [f"{left}{' ' * (widest - width(left))}  {right}".rstrip() for left, right in pairs]


def _lines(node: Node, first: str, rest: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    layers = f", {node.count} layers" if node.count > 1 else ""
    left = f"{first}{node.chain.removeprefix('sha256:')[:12]}  {human_size(node.size)}{layers}"
    yield left, ", ".join(names[id] for id in node.images)
    for place, above in enumerate(node.above, 1):
        last = place == len(node.above)
        yield from _lines(above, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), names)


def _names(entry: Registered) -> str:
    tags = [name for name in sorted(entry.references) if "@" not in name]
    return safe(", ".join(tags)) or entry.image.id.removeprefix("sha256:")[:12]
