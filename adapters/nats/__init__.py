"""The bus: an embedded or external nats-server, and the Bus port on top of nats-py."""
