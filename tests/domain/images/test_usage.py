"""Usage: every byte of an image is shared or its own, and trees hold every layer once."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from domain.images.model import Image, Layer
from domain.images.usage import Node, Share, forest, percent, shares


def image(name: str, *layers: tuple[str, int]) -> Image:
    """An image of layers with these chain ids and sizes."""
    return Image(id=name, layers=tuple(Layer(diff_id=chain, chain_id=chain, size=size) for chain, size in layers))


def test_a_layer_that_two_images_have_is_shared() -> None:
    """Also one that is in an image twice is there once."""
    found = shares([image("a", ("1", 10), ("2", 5)), image("b", ("1", 10), ("3", 7)), image("c", ("4", 2), ("4", 2))])
    assert found == {"a": Share(10, 5), "b": Share(10, 7), "c": Share(0, 2)}


def test_a_tree_forks_where_images_part() -> None:
    """A run of layers without a fork is one node; an image may end in the middle."""
    base, one = image("base", ("1", 10), ("2", 5)), image("one", ("1", 10), ("2", 5), ("3", 7), ("4", 1))
    two = image("two", ("1", 10), ("2", 5), ("5", 2))
    other = image("other", ("9", 1))
    assert forest([base, one, two, other]) == (
        Node("2", 15, 2, ("base",), (Node("4", 8, 2, ("one",)), Node("5", 2, 1, ("two",)))),
        Node("9", 1, 1, ("other",)),
    )
    assert forest([image("empty")]) == ()


chains = st.lists(st.sampled_from("abc"), min_size=1, max_size=5)


@given(st.lists(chains, max_size=6))
def test_every_layer_and_every_image_is_in_the_forest_once(stacks: list[list[str]]) -> None:
    """Whatever they share: the sizes of the nodes are those of all layers, each counted once."""
    images = [
        image(str(number), *(("".join(stack[: at + 1]), 1) for at in range(len(stack))))
        for number, stack in enumerate(stacks)
    ]
    nodes = list(_all(forest(images)))
    assert sum(node.size for node in nodes) == len({layer.chain_id for one in images for layer in one.layers})
    assert sorted(id for node in nodes for id in node.images) == sorted(one.id for one in images)


def _all(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _all(node.above)


def test_a_share_of_nothing_is_not_told() -> None:
    """0B, without a percentage."""
    assert (percent(1, 2), percent(0, 5), percent(0, 0)) == (" (50%)", " (0%)", "")
