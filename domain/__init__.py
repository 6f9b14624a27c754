"""The rules of the engine: no clock, disk, socket, thread or await in here."""
