"""The agent's configuration: each wrong value is named with where, found and allowed, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.__main__ import main
from node.agent.configuration import ConfigurationError, ControlAddress, load_environment, load_file
from node.protocol.identity import Peer

GOOD: dict[str, object] = {
    "name": "lisbon",
    "private_key": "11" * 32,
    "listen": {"host": "10.0.0.1", "port": 4433},
}
PEER = {"public_key": "22" * 32, "host": "10.0.0.2", "port": 4433}


def errors(tmp_path: Path, **changes: object) -> list[str]:
    """Return what is wrong with the good configuration after some changes (None takes a key away)."""
    raw = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(ConfigurationError) as caught:
        load_file(path)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_a_full_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    more = {
        "peers": {"paris": PEER}, "transport": {"arq": "stop-and-wait"}, "control": {"unix": "/x/c.sock"},
        "key_log": "/x/keys", "qlog_directory": "/x/qlog", "files_directory": "/x/files",
        "no_udp_checksum": True, "log_level": "debug",
    }  # fmt: skip
    path.write_text(json.dumps({**GOOD, **more}))
    found = load_file(path)
    assert found.node.listen == ("10.0.0.1", 4433)
    assert found.node.peers == {"paris": Peer(bytes.fromhex("22" * 32), ("10.0.0.2", 4433))}
    assert found.control == ControlAddress(unix="/x/c.sock")
    assert found.results_directory == Path("/x/files/received")
    assert found.qlog_directory == Path("/x/qlog")
    assert found.no_udp_checksum
    assert found.gso


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        ("[::1]:4433", ("::1", 4433)),
        ({"host": "::1", "port": 4433}, ("::1", 4433)),
        ({"host": "2001:0DB8::0:1", "port": 1}, ("2001:db8::1", 1)),
        ("[fe80::1%eth0]:4433", ("fe80::1%eth0", 4433)),
    ],
)
def test_ipv6_addresses_are_read_as_the_kernel_writes_them(
    tmp_path: Path, listen: object, found: tuple[str, int]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**GOOD, "listen": listen}))
    assert load_file(path).node.listen == found


def test_the_environment_says_the_same_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps({**GOOD, "peers": {"paris": PEER}, "control": {"tcp": "0.0.0.0:7000"}, "gso": False})
    )
    environment = {
        "NARROWS_NAME": "lisbon", "NARROWS_PRIVATE_KEY": "11" * 32, "NARROWS_LISTEN": "10.0.0.1:4433",
        "NARROWS_PEERS": json.dumps({"paris": PEER}), "NARROWS_CONTROL": '{"tcp": "0.0.0.0:7000"}',
        "NARROWS_GSO": "false", "NARROWS_KEY_LOG": "",
    }  # fmt: skip
    assert load_environment(environment) == load_file(path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": None}, "name: is missing"),
        ({"name": 7}, "name: found 7, must be a text"),
        ({"private_key": "11"}, "private_key: must be 64 hex digits, found a text that is not"),
        ({"private_key": "zz" * 32}, "private_key: must be 64 hex digits, found a text that is not"),
        ({"listen": "10.0.0.1"}, "listen: found '10.0.0.1', must be 'host:port'"),
        ({"listen": "::1:4433"}, "listen: found '::1:4433', must be '[::1]:4433'"),
        ({"listen": "10.0.0.1:x"}, "listen: port: found 'x', must be a whole number from 0 to 65535"),
        ({"listen": "10.0.0.1:65536"}, "listen: port: found 65536, must be a whole number from 0 to 65535"),
        (
            {"listen": {"host": "h", "port": True}},
            "listen: port: found True, must be a whole number from 0 to 65535",
        ),
        ({"peers": []}, "peers: found [], must be an object: name → public_key, host, port"),
        ({"peers": {"paris": 1}}, "peers.paris: found 1, must be an object"),
        (
            {"peers": {"paris": {**PEER, "public_key": "2"}}},
            "peers.paris.public_key: must be 64 hex digits, found a text that is not",
        ),
        (
            {"peers": {"paris": {**PEER, "port": -1}}},
            "peers.paris: port: found -1, must be a whole number from 0 to 65535",
        ),
        ({"control": "x"}, """control: found 'x', use {"unix": path} or {"tcp": "host:port"}"""),
        (
            {"transport": {"arq": "x"}},
            "transport: arq: found 'x', use one of selective-repeat, stop-and-wait, go-back-n",
        ),
        ({"log_level": "loud"}, "log_level: found 'loud', use one of debug, info, warning, error"),
        ({"gso": "yes"}, "gso: found 'yes', use true or false"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    assert errors(tmp_path, **changes) == [problem]


def test_all_wrong_values_are_named_at_once(tmp_path: Path) -> None:
    found = errors(tmp_path, name=None, listen="x", gso=1, colour="red")
    assert [line.split(":")[0] for line in found] == ["colour", "name", "listen", "gso"]


def test_a_private_key_never_shows(tmp_path: Path) -> None:
    secret = "ab" * 31 + "a"
    assert secret not in "\n".join(errors(tmp_path, private_key=secret))


def test_variables_are_named_as_variables() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_environment(
            {"NARROWS_LISTEN": "h:1", "NARROWS_PEERS": "{", "NARROWS_NAME": "a", "NARROWS_GSO": "x"}
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "NARROWS_PEERS", "NARROWS_PRIVATE_KEY", "NARROWS_GSO",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(path)):
        load_file(path)


def test_the_program_ends_with_2_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "absent.json")]) == 2
    assert "absent.json: No such file or directory" in capsys.readouterr().err
