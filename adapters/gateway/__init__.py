"""The gateway: a process that speaks HTTP with clients of the Docker Engine API, and the bus with the engine.

    docker, docker-py, compose ──HTTP──▶ gateway ──the engine's socket──▶ console of the daemon (`workers.gateway`)

It knows nothing about containers. Each connection of a client has a connection of its own to the engine's socket,
whose first line says for whom it speaks; each request is one call of the console, as a command line is
(`adapters.control.console`), and the answer's frames become the answer's bytes. So the engine knows who asks, notices
who hangs up, and keeps its measure with slow readers, as it does with the command line; and what clients do to this
process does not reach the daemon.
"""
