"""The list: which rule is broken how, and which test is to fail for it."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOL = "node/protocol/"


@dataclass(frozen=True, slots=True)
class Change:
    """One place of the source, which must be there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """One broken rule."""

    rule: str
    #: ``file::test`` below tests/.
    test: str
    changes: tuple[Change, ...]


def _mutation(rule: str, test: str, *places: tuple[str, str, str]) -> Mutation:
    return Mutation(rule, test, tuple(Change(PROTOCOL + file, old, new) for file, old, new in places))


MUTATIONS = (
    _mutation(
        "a sender overruns the stream's window",
        "simulation/test_on_the_wire.py::test_nothing_is_sent_outside_both_windows",
        (
            "streams/send.py",
            "limit = self.next_offset, min(self.written, self.max_data, self.high_water",
            "limit = self.next_offset, min(self.written, self.high_water",
        ),
    ),
    _mutation(
        "a sender overruns the connection's window",
        "simulation/test_connection.py::test_the_connections_window_bounds_all_streams_together",
        (
            "streams/send.py",
            "limit = self.next_offset, min(self.written, self.max_data, self.high_water + connection_credit)",
            "limit = self.next_offset, min(self.written, self.max_data)",
        ),
    ),
    _mutation(
        "a sender overruns the congestion window",
        "simulation/test_on_the_wire.py::test_nothing_is_sent_outside_both_windows",
        (
            "recovery/manager.py",
            "left = self.congestion.congestion_window - self.bytes_in_flight",
            "left = 1 << 40",
        ),
    ),
    _mutation(
        "a receiver does not check a stream's window",
        "unit/protocol/test_streams.py::test_a_frame_that_is_refused_changes_nothing",
        ("streams/receive.py", "if end > self.window.maximum:", "if False:"),
    ),
    _mutation(
        "a receiver does not check the connection's window",
        "attacks/test_floods.py::test_a_reassembly_bomb_takes_no_more_than_the_windows",
        ("streams/flow_control.py", "if self._received > self.window.maximum:", "if False:"),
        ("stream_calls.py", "if self.credit.to_receive < rise:", "if False:"),
    ),
    _mutation(
        "another final size is accepted",
        "unit/protocol/test_streams.py::test_the_final_size_is_final",
        ("streams/receive.py", "if self.final_size is not None and (", "if False and ("),
    ),
    _mutation(
        "a packet number is used twice",
        "simulation/test_on_the_wire.py::test_a_packet_number_is_used_once_and_they_rise_by_one",
        (
            "recovery/manager.py",
            "following = record.first + record.count",
            "following = record.first + record.count * (record.first != 4)",
        ),
    ),
    _mutation(
        "a duplicate is accepted",
        "simulation/test_connection.py::test_replayed_packets_change_nothing",
        ("packet_receiver.py", "if number != expected and self._is_duplicate(number):", "if False:"),
    ),
    _mutation(
        "the tag of crc32c is ignored",
        "simulation/test_on_the_wire.py::test_a_packet_with_a_wrong_tag_is_dropped_and_counted",
        (
            "wire/protection.py",
            'return packets[end - 4 : end] == check.to_bytes(4, "big")',
            "return bool(check) or True",
        ),
    ),
    _mutation(
        "the tag of aead is ignored",
        "simulation/test_on_the_wire.py::test_a_packet_with_a_wrong_tag_is_dropped_and_counted",
        (
            "wire/protection.py",
            ": end - 16]\n            )\n        except InvalidTag:\n            return False",
            ": end - 16]\n            )\n        except InvalidTag:\n            return True",
        ),
    ),
    _mutation(
        "an acknowledgement of what was never sent is accepted",
        "simulation/test_connection.py::test_an_acknowledgement_of_what_was_never_sent_closes",
        ("recovery/manager.py", "if largest >= self.next_packet_number:", "if False:"),
    ),
    _mutation(
        "two later packets make a packet lost",
        "unit/protocol/test_recovery.py::test_three_later_packets_make_a_packet_lost_and_two_do_not",
        ("recovery/loss.py", "earlier - packet_threshold + 1", "earlier - packet_threshold + 2"),
    ),
    _mutation(
        "time makes no packet lost",
        "unit/protocol/test_recovery.py::test_time_makes_an_earlier_packet_lost",
        ("recovery/loss.py", "if record.time_sent <= sent_before:", "if False:"),
    ),
    _mutation(
        "probes do not back off",
        "simulation/test_on_the_wire.py::test_probes_go_beyond_the_congestion_window_ever_more_rarely_up_to_three_seconds",
        ("recovery/manager.py", "probe_timeout << self._pto_count", "probe_timeout"),
    ),
    _mutation(
        "more is sent than was received before the address is proven",
        "simulation/test_connection.py::test_before_the_peer_proves_its_address_no_more_is_sent_than_was_received",
        (
            "setting_up.py",
            "        half.responses += 1\n",
            "        half.responses += 1\n        self.replies.append(self.replies[-1])\n",
        ),
    ),
    _mutation(
        "a set-up packet for another node is accepted",
        "simulation/test_connection.py::test_a_set_up_packet_for_another_node_is_never_accepted",
        ("setting_up.py", "packet.target_address != self._endpoint.identity.address", "False"),
    ),
    _mutation(
        "a responder may change the profile",
        "simulation/test_handshake.py::test_a_response_that_says_otherwise_is_dropped",
        (
            "handshake.py",
            "if (parameters.integrity, parameters.arq) != (self._asked.integrity, self._asked.arq):",
            "if False:",
        ),
    ),
    _mutation(
        "an initiator may claim another address",
        "simulation/test_handshake.py::test_an_initiation_that_proves_something_else_is_dropped",
        ("handshake.py", "if not suite.has_three_messages and address_of(", "if False and address_of("),
    ),
    _mutation(
        "any cookie is good",
        "simulation/test_retry.py::test_a_cookie_from_elsewhere_or_from_long_ago_opens_nothing",
        ("setting_up.py", "not self._cookies.verifies(packet, source, now=now):", "not packet.cookie:"),
    ),
    _mutation(
        "the key phase is ignored",
        "simulation/test_key_update.py::test_the_peer_follows_an_update_it_did_not_ask_for",
        ("packet_receiver.py", "if packet[0] == c.receive_kind:", "if True:"),
    ),
    _mutation(
        "two key updates without an acknowledgement are followed",
        "simulation/test_key_update.py::test_a_second_update_before_any_acknowledgement_closes",
        (
            "key_phases.py",
            "if self._owes_acknowledgement and self.updates ==",
            "if False and self.updates ==",
        ),
    ),
    _mutation(
        "a ticket opens early data twice",
        "unit/protocol/test_tickets.py::test_a_ticket_gives_its_secret_once",
        ("tickets.py", "if nonce in self._used:", "if False:"),
    ),
    _mutation(
        "an address that is not proven gets all that there is",
        "unit/protocol/test_paths.py::test_until_the_address_is_proven_three_times_what_came_from_it_may_go_there",
        ("path.py", "AMPLIFICATION = 3", "AMPLIFICATION = 1000"),
    ),
    _mutation(
        "any answer proves a path",
        "unit/protocol/test_paths.py::test_an_answer_to_no_challenge_of_ours_proves_nothing",
        ("path.py", "return data in self._challenges", "return True"),
    ),
    _mutation(
        "a message that is given up keeps its credit",
        "simulation/test_messages.py::test_what_a_message_that_is_given_up_did_not_send_is_credit_for_others",
        ("messages.py", "c.credit.on_sent(stream.high_water - stream.written)", "pass"),
    ),
    _mutation(
        "a probe may hold new connection IDs alone",
        "unit/protocol/test_paths.py::test_a_peer_that_only_has_new_ids_to_repeat_is_followed_all_the_same",
        (
            "packet_builder.py",
            "nothing = all(isinstance(frame, NewConnectionId) for frame in self.control)",
            "nothing = not self.control",
        ),
    ),
    _mutation(
        "a sealed datagram is accepted twice",
        "simulation/test_sealed.py::test_no_packet_is_taken_twice",
        ("sealed/replay.py", "behind >= WINDOW_BITS or bool(self._bits >> behind & 1)", "False"),
    ),
    _mutation(
        "go-back-n keeps what comes early",
        "contract/test_arq_modes.py::test_what_comes_out_of_order_is_kept_only_where_the_mode_says_so",
        ("arq/go_back_n.py", "in_order_only: ClassVar[bool] = True", "in_order_only: ClassVar[bool] = False"),
    ),
)  # fmt: skip
