"""The control server and its client: every hostile line gets an answer, no client can harm another."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.agent import control
from node.agent.configuration import ControlAddress
from node.agent.control import ControlServer
from node.control.client import ControlClient, ControlError
from node.control.messages import Command, NodeEvent, Reply

#: Seconds after which a condition that should come about at once counts as never coming.
PATIENCE = 20.0


async def later(command: Command) -> Reply:
    """Answer after a turn of the loop."""
    await asyncio.sleep(0)
    return Reply(True, {"later": command.name})


def obey(command: Command) -> Reply | Awaitable[Reply]:
    """Echo a command; ``later`` is answered asynchronously, ``no`` refused."""
    if command.name == "later":
        return later(command)
    if command.name == "no":
        return Reply(False, error="no: because")
    return Reply(True, {"command": command.name, **command.arguments})


def run(test: Callable[[ControlServer, str], Awaitable[None]], tmp_path: Path) -> None:
    """Run a test against a server on a Unix socket."""

    path = str(tmp_path / "deep" / "control.sock")

    async def main() -> None:
        server = ControlServer(ControlAddress(unix=path), obey)
        await server.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await test(server, path)
        finally:
            await server.close(PATIENCE)

    asyncio.run(main())
    assert not Path(path).exists()


async def raw(path: str, sent: bytes, answers: int) -> list[dict[str, object]]:
    """Send bytes and return so many answers."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 24)
    writer.write(sent)
    found = [json.loads(await reader.readline()) for _ in range(answers)]
    writer.close()
    await writer.wait_closed()
    return found


def line(**fields: object) -> bytes:
    """Return a line of JSON."""
    return json.dumps({"v": 1, "id": 7, "command": "x", **fields}).encode() + b"\n"


def test_commands_are_answered_in_kind(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        async with await ControlClient.connect_unix(path) as client:
            assert await client.request(Command("a", {"b": [1]})) == Reply(True, {"command": "a", "b": [1]})
            assert await client.request(Command("later")) == Reply(True, {"later": "later"})
            assert await client.request(Command("no")) == Reply(False, error="no: because")
            replies = await asyncio.gather(*(client.request(Command("later", {"n": n})) for n in range(50)))
            assert all(reply.ok for reply in replies)

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("sent", "words", "identifier"),
    [
        (b"x\n", "not JSON", 0),
        (b"\xff\xfe\n", "not JSON", 0),
        (b"[]\n", "not a JSON object", 0),
        (b"[" * 100_000 + b"\n", "not JSON", 0),
        (line(v=2), "v: found 2, this node speaks 1", 7),
        (line(v=None), "v: found None", 7),
        (line(id="a"), "id: found 'a'", 0),
        (line(id=True), "id: found True", 0),
        (line(command=3), "command: found 3", 7),
        (line(arguments=[]), "arguments: found []", 7),
        (b"x" * (control.MAX_LINE_BYTES + 1) + b"\n", "longer than", 0),
        (b"x" * (3 * control.MAX_LINE_BYTES) + b"\n", "longer than", 0),
    ],
)
def test_a_bad_line_gets_an_error_and_the_next_is_obeyed(
    tmp_path: Path, sent: bytes, words: str, identifier: int
) -> None:
    async def test(server: ControlServer, path: str) -> None:
        bad, good = await raw(path, sent + b"\n \n" + line(), 2)
        assert bad["ok"] is False
        assert words in str(bad["error"])
        assert bad["id"] == identifier
        assert good == {"v": 1, "id": 7, "ok": True, "data": {"command": "x"}}

    run(test, tmp_path)


def test_a_line_may_come_in_pieces_and_several_at_once(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for byte in line() + line(id=8):
            writer.write(bytes((byte,)))
            await writer.drain()
        assert [json.loads(await reader.readline())["id"] for _ in range(2)] == [7, 8]
        writer.close()
        await writer.wait_closed()

    run(test, tmp_path)


def test_every_client_gets_every_event(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        clients = [await ControlClient.connect_unix(path) for _ in range(3)]
        for client in clients:
            await client.request(Command("status"))
        event = NodeEvent("lisbon", "flow_finished", 12, {"flow": "f"})
        server.publish(event)
        for client in clients:
            assert await anext(client.events()) == event
            await client.close()

    run(test, tmp_path)


def test_a_client_that_does_not_read_is_cut_off_and_the_others_live(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(path)
            async with await ControlClient.connect_unix(path) as client:
                await client.request(Command("status"))
                event = NodeEvent("lisbon", "warning", 1, {"message": "m" * (1 << 20)})
                reading = client.events()
                for _ in range(16):
                    server.publish(event)
                    await anext(reading)
                assert (await client.request(Command("status"))).ok
                assert len(server._clients) == 1

    run(test, tmp_path)


def test_progress_is_dropped_before_anything_else(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path, limit=1 << 24)
        writer.write(line())
        await reader.readline()
        for number in range(8):
            server.publish(NodeEvent("n", "warning", number, {"message": "m" * (1 << 19)}))
            server.publish(NodeEvent("n", "flow_progress", number, {"bytes": number}))
        kinds: list[str] = []
        while kinds.count("warning") < 8:
            kinds.append(json.loads(await reader.readline())["event"])
        assert kinds.count("flow_progress") < 8
        writer.close()
        await writer.wait_closed()

    run(test, tmp_path)


def test_a_client_more_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CLIENTS", 1)

    async def test(server: ControlServer, path: str) -> None:
        async with await ControlClient.connect_unix(path) as first:
            assert (await first.request(Command("status"))).ok
            async with await ControlClient.connect_unix(path) as second:
                with pytest.raises(ControlError, match="closed the connection"):
                    await second.request(Command("status"))
            assert (await first.request(Command("status"))).ok

    run(test, tmp_path)


def test_requests_fail_when_the_node_goes(tmp_path: Path) -> None:
    async def test(server: ControlServer, path: str) -> None:
        client = await ControlClient.connect_unix(path)
        await client.request(Command("status"))
        await server.close(PATIENCE)
        assert [event async for event in client.events()] == []
        with pytest.raises(ControlError, match="closed the connection"):
            await client.request(Command("status"))
        await client.close()
        await client.close()

    run(test, tmp_path)


def test_connecting_to_nobody_says_where(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no node listens at"):
        asyncio.run(ControlClient.connect_unix(str(tmp_path / "absent")))


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "control.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        server = ControlServer(ControlAddress(unix=str(path)), obey)
        await server.start()
        with pytest.raises(FileExistsError, match="another agent"):
            await ControlServer(ControlAddress(unix=str(path)), obey).start()
        await server.close(PATIENCE)
        path.write_text("a user's file")
        with pytest.raises(FileExistsError, match="is no socket"):
            await ControlServer(ControlAddress(unix=str(path)), obey).start()

    asyncio.run(main())


def test_a_socket_that_is_there_is_listened_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts many agents waits for their sockets by looking, and connects to each once."""
    path = tmp_path / ("s" * (107 - len(f"{tmp_path}/")))
    seen: list[bool] = []
    listen = socket.socket.listen

    def listen_unseen(made: socket.socket, backlog: int) -> None:
        if not made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            seen.append(path.exists())
        listen(made, backlog)

    monkeypatch.setattr(socket.socket, "listen", listen_unseen)

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path)[:-1] + "~")
        server = ControlServer(ControlAddress(unix=str(path)), obey)
        await server.start()
        async with await ControlClient.connect_unix(str(path)) as client:
            assert (await client.request(Command("status"))).ok
        await server.close(PATIENCE)

    asyncio.run(main())
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []


def test_tcp_works_the_same() -> None:
    async def main() -> None:
        server = ControlServer(ControlAddress(tcp=("127.0.0.1", 0)), obey)
        await server.start()
        assert server.address.tcp is not None
        async with await ControlClient.connect_tcp(*server.address.tcp) as client:
            assert (await client.request(Command("status"))).ok
        await server.close(PATIENCE)

    asyncio.run(main())
