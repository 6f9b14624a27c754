"""The version of the engine: the only place that states it; pyproject.toml and `lading version` read it here."""

VERSION = "0.1.0"
