"""Tar archives and trees of files, by descriptors: what the thin client, the image store's small processes and those
that reach into containers share. It stands below the other adapters. Standard library only."""
