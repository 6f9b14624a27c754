"""Hears from the kernel that somebody else has changed the firewall."""

import asyncio
import socket
from collections.abc import Callable, Sequence

from adapters.net import netlink, nft
from adapters.net.netlink import NETFILTER, Netlink

_CHANGES = 1 << 6  # NFNLGRP_NFTABLES is 7
_ROOM = 1 << 16


class Alarms:
    """Calls `lost` when the table called `name` was deleted, `made` when a chain was made that is called as one of
    `chains`: Docker, or ufw, begins. For the loop."""

    def __init__(self, name: str, chains: Sequence[str], *, lost: Callable[[], None], made: Callable[[], None]) -> None:
        self._name, self._lost, self._made = name.encode(), lost, made
        self._chains = {chain.encode() for chain in chains}
        self._source = Netlink(NETFILTER, _CHANGES)
        self._socket = socket.socket(fileno=self._source.fileno())
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Hear no more. Twice is fine."""
        if self._socket.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.detach()
        self._source.close()

    def _read(self) -> None:
        deleted = made = begun = False
        while True:
            try:
                data = self._socket.recv(_ROOM)
            except BlockingIOError:
                break
            except OSError:  # more than fits: something may have been missed
                deleted = True
                break
            for kind, _, _, body in netlink.split(data):
                values = netlink.attributes(body, 4)
                begun |= kind == nft.NEW_CHAIN and values.get(3, b"").rstrip(b"\0") in self._chains
                if values.get(1, b"").rstrip(b"\0") != self._name:
                    continue
                deleted |= kind == nft.DELETE_TABLE
                made |= kind == nft.NEW_TABLE
        if deleted and not made:  # our own way to load it does both, in one step
            self._lost()
        if begun:
            self._made()
