"""The log and its projections in one SQLite file: the only truth of this host.

`event_store.SqliteEventStore(root, projections)` is all that others use: `open`, `close`, `failure`, the port
`EventStore`, `views` (the port `Views`, with `at` for earlier positions), `caught_up`, `rebuild`, `digest`, `verify`,
`versions`. The asynchronous projections follow by themselves while the store is open.
"""
