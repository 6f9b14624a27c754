"""The log and its projections in one SQLite file: the only truth of this host."""
