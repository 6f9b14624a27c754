"""The bench: how fast Lading is, side by side with its peers on the same machine, in the same run."""
