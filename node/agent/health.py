"""The health check: asks a running agent's control interface for its status."""

from __future__ import annotations

import asyncio
import json

from node.agent.configuration import ControlAddress
from node.control.client import ControlClient, ControlError
from node.control.messages import Command

#: Seconds until a silent agent counts as ill; container engines give a check five.
TIME_LIMIT = 3.0
#: What stands for "any address" to a server does not say where to connect.
_LOCAL = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1"}


def check_health(address: ControlAddress) -> tuple[bool, str]:
    """Return whether the agent at ``address`` answers, and its status or what is wrong, in one line."""
    return asyncio.run(_check(address))


async def _check(address: ControlAddress) -> tuple[bool, str]:
    try:
        async with await _connect(address) as client:
            reply = await client.request(Command("status"), time_limit=TIME_LIMIT)
    except ControlError as error:
        return False, str(error)
    return reply.ok, json.dumps(dict(reply.data)) if reply.ok else reply.error


async def _connect(address: ControlAddress) -> ControlClient:
    if address.unix is not None:
        return await ControlClient.connect_unix(address.unix, time_limit=TIME_LIMIT)
    assert address.tcp is not None
    host, port = address.tcp
    return await ControlClient.connect_tcp(_LOCAL.get(host, host), port, time_limit=TIME_LIMIT)
