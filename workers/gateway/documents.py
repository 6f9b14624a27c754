"""Documents that clients send: fields have the API's names in any case of letters, null stands for
nothing, unknown fields are tolerated. A value of another type than the field's is refused, as the industry's engine
does: a text is no number, and a number no truth."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Document(BaseModel):
    """One object of a body."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, given: Any) -> Any:
        """What is null was not said; `detachKeys` is as good as `DetachKeys`, as for the industry's engine."""
        if not isinstance(given, dict):
            return given
        names = {(field.alias or name).lower(): field.alias or name for name, field in cls.model_fields.items()}
        return {names.get(str(key).lower(), key): value for key, value in given.items() if value is not None}
