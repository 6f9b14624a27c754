"""Documents that clients send: fields have the API's names, null stands for nothing, unknown fields are tolerated."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Document(BaseModel):
    """One object of a body."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """What is null was not said."""
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given
