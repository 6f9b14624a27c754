"""Processes and their loops: they connect what the domain decides with what the adapters do."""
