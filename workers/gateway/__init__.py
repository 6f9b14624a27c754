"""The Docker Engine API: what a request asks for becomes the commands and queries that the command line uses, too.

    adapters.gateway ──call of the console──▶ dispatch ─▶ routes ─▶ resources/… ─▶ engine
                     ◀──head, body─────────── replies ◀─ errors

Imported with the first request. `resources` has one file per resource, with its rows of the table of routes; `errors`
is the table of refusals; what the API words otherwise than the engine is translated in modules of their own.
"""
