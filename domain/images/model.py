"""An image as the log knows it."""

from pydantic import BaseModel, ConfigDict, Field


class Layer(BaseModel):
    """One layer: `chain_id` names the extracted directory, `diff_id` the uncompressed tar; `size` is apparent bytes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    diff_id: str
    chain_id: str
    size: int


class Image(BaseModel):
    """`id` is the digest of the config's exact bytes (`sha256:…`); `config` is its parsed document."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    config: dict[str, object] = Field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    created: int = 0
    size: int = 0


class Registered(BaseModel):
    """An image with its references (`name:tag` and `name@digest`, normalised); `parent` is the id of the image that it
    was made from, where that is known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: Image
    references: tuple[str, ...] = ()
    parent: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its references with a tag."""
        return tuple(name for name in self.references if "@" not in name)

    @property
    def digests(self) -> tuple[str, ...]:
        """Its references with a digest."""
        return tuple(name for name in self.references if "@" in name)
