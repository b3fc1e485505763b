"""Every attack and fault that the transport must bear, and the tests that hold it to a cap."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One attack or fault."""

    what: str
    #: ``file::test`` of each test that proves it, below tests/.
    tests: tuple[str, ...]


_FLOODS = "attacks/test_floods.py::"
_HOSTILE = "simulation/test_hostile_peer.py::"
_SEALED = "simulation/test_sealed.py::"
_RESET = "simulation/test_stateless_reset.py::"
_PMTU = "unit/protocol/test_pmtu.py::"
_UDP = "agent/test_udp.py::"
_PATHS = "unit/protocol/test_paths.py::"
_IDS = "unit/protocol/test_connection_ids.py::"
_RETRY = "simulation/test_retry.py::"
_SET_UP = "attacks/test_set_up.py::"
_EARLY = "simulation/test_early_data.py::"
_FLOWS = "simulation/test_node_flows.py::"

ENTRIES = (
    Entry(
        "acknowledgement of packets never sent",
        (_FLOODS + "test_an_acknowledgement_of_what_was_never_sent_closes_at_once",),
    ),
    Entry(
        "huge ack ranges",
        (
            _FLOODS + "test_huge_ranges_cost_as_little_as_small_ones",
            _FLOODS + "test_sixty_four_huge_ranges_are_no_worse",
        ),
    ),
    Entry(
        "reassembly bomb",
        (
            _FLOODS + "test_a_reassembly_bomb_takes_no_more_than_the_windows",
            _FLOODS + "test_gaps_are_bounded_in_each_stream_and_what_opens_more_is_not_kept",
            _SEALED + "test_a_reassembly_bomb_is_held_in_its_bounds",
        ),
    ),
    Entry("handshake-data flood", (_RETRY + "test_a_flood_costs_no_key_exchange_no_memory_and_little_time",)),
    Entry(
        "half-open flood",
        (
            _HOSTILE + "test_a_flood_of_initiations_keeps_no_honest_peer_out",
            _RETRY + "test_a_flood_costs_no_key_exchange_no_memory_and_little_time",
            _SET_UP + "test_a_full_house_of_half_open_connections_has_a_size",
        ),
    ),
    Entry(
        "downgrade by who changes set-up on the way",
        (
            "simulation/test_suites.py::test_a_suite_changed_on_the_way_opens_nothing",
            "simulation/test_suites.py::test_a_field_changed_on_the_way_opens_nothing",
            _RETRY + "test_an_attacker_that_changes_every_cookie_opens_nothing",
        ),
    ),
    Entry(
        "every parser on random, truncated and bit-flipped bytes",
        (
            _FLOODS + "test_random_and_truncated_bytes_are_dropped_for_one_reason_each",
            _FLOODS + "test_every_flipped_bit_of_a_packet_is_one_drop",
            _SEALED + "test_every_flipped_bit_and_every_cut_is_dropped_and_counted_once",
        ),
    ),
    Entry(
        "zero-length datagrams", (_FLOODS + "test_datagrams_of_no_length_cost_nothing_and_change_nothing",)
    ),
    Entry(
        "amplification",
        (
            "simulation/test_connection.py::test_before_the_peer_proves_its_address_no_more_is_sent_than_was_received",
            _RETRY + "test_set_up_never_sends_three_times_what_it_received",
            _EARLY + "test_early_data_is_no_proof_of_an_address",
        ),
    ),
    Entry(
        "replay of any packet, of a token",
        (
            "simulation/test_connection.py::test_replayed_packets_change_nothing",
            _SEALED + "test_no_packet_is_taken_twice",
            _RETRY + "test_a_cookie_from_elsewhere_or_from_long_ago_opens_nothing",
            _SET_UP + "test_every_set_up_packet_may_be_replayed_at_any_time",
        ),
    ),
    Entry(
        "replay of 0-RTT",
        (
            _EARLY + "test_a_replayed_flight_delivers_nothing_twice",
            _EARLY + "test_a_flight_replayed_to_a_restarted_responder_delivers_nothing",
            _EARLY + "test_a_flood_of_early_data_is_dropped_at_its_cap",
            "unit/protocol/test_tickets.py::test_used_tickets_are_remembered_in_bounded_memory",
        ),
    ),
    Entry(
        "nonce reuse after failed decryption or fork",
        (
            _FLOODS + "test_a_failed_decryption_uses_up_no_number_and_no_nonce",
            _SEALED + "test_a_forked_copy_seals_under_a_key_of_its_own",
            _SET_UP + "test_a_handshake_message_that_fails_uses_no_nonce_twice",
            _SET_UP + "test_a_forked_copy_seals_nothing_of_its_connections",
        ),
    ),
    Entry(
        "slow readers and slow senders",
        (
            _FLOODS + "test_a_slow_reader_holds_the_window_and_no_more",
            _FLOODS + "test_a_slow_sender_keeps_a_stream_and_no_more",
            _FLOODS + "test_a_peer_that_opens_all_streams_and_says_nothing_costs_two_kilobytes_each",
        ),
    ),
    Entry(
        "optimistic acknowledgement",
        (
            "simulation/test_ack_attacks.py::test_a_receiver_that_acknowledges_what_it_did_not_get_is_found_out",
        ),
    ),
    Entry(
        "ack floods",
        (
            _FLOODS + "test_a_flood_of_acknowledgements_costs_the_same_each_and_keeps_nothing",
            _FLOODS + "test_pings_without_end_are_answered_at_most_one_each",
        ),
    ),
    Entry(
        "path-challenge flood",
        (_PATHS + "test_a_flood_of_challenges_is_answered_with_eight_packets_a_burst",),
    ),
    Entry(
        "connection-id flood",
        (
            _IDS + "test_a_flood_of_connection_ids_closes_the_connection_and_no_more",
            _IDS + "test_a_flood_of_retirements_that_are_never_acknowledged_closes_it_too",
            _IDS + "test_one_more_than_the_limit_is_refused",
        ),
    ),
    Entry(
        "off-path spoofed migration",
        (
            _PATHS + "test_copies_of_packets_from_a_spoofed_address_do_not_take_the_connection_away",
            _PATHS + "test_until_the_address_is_proven_three_times_what_came_from_it_may_go_there",
            _PATHS + "test_an_answer_to_no_challenge_of_ours_proves_nothing",
        ),
    ),
    Entry(
        "copied and forged initiations",
        (
            _SET_UP + "test_a_copy_of_an_initiation_from_elsewhere_keeps_nobody_out",
            _SET_UP + "test_another_message_under_the_same_connection_id_keeps_nobody_out",
            _SET_UP + "test_a_copied_completion_moves_nothing",
            _SET_UP + "test_copies_from_everywhere_are_as_few_as_any_half_open_connections",
            _SET_UP + "test_what_was_awaited_outlives_an_initiation_of_before",
            _EARLY + "test_early_data_copied_to_elsewhere_first_is_lost_to_nobody",
            _EARLY + "test_a_copied_connection_id_with_another_ticket_keeps_nobodys_early_data_out",
            _FLOWS + "test_a_copy_of_early_data_that_comes_first_takes_the_flow_from_nobody",
            _FLOWS + "test_copies_of_each_connection_of_a_flow_take_none_of_them",
            _FLOWS + "test_a_copy_alone_keeps_the_flow_waiting_for_its_peer",
        ),
    ),
    Entry(
        "rebinding during set-up",
        (
            _SET_UP + "test_a_nat_that_forgets_its_mapping_during_set_up_keeps_nobody_out",
            _SET_UP + "test_a_nat_that_forgets_its_mapping_before_completion_keeps_nobody_out",
            _FLOWS + "test_early_data_from_the_port_before_takes_the_flow_from_nobody",
        ),
    ),
    Entry(
        "GSO failing half-way",
        (
            _UDP + "test_gso_that_fails_half_way_loses_nothing_and_is_said_once",
            _UDP + "test_a_burst_too_long_for_the_interface_is_lost_and_gso_goes_on",
        ),
    ),
    Entry(
        "clock jump forwards",
        (
            _FLOODS + "test_a_clock_that_jumps_forwards_makes_no_storm",
            _FLOODS + "test_a_transfer_goes_on_after_the_clock_jumped",
        ),
    ),
    Entry(
        "peer restart with the old connection id",
        (
            _FLOODS + "test_an_old_connection_id_after_a_restart_stirs_nothing_up",
            _RESET + "test_a_restarted_peer_ends_the_connection_at_the_other_end_at_once",
            _RESET + "test_every_forged_reset_is_dropped",
            _RESET + "test_resets_are_few_however_many_packets_ask_for_one",
        ),
    ),
    Entry(
        "rebinding in mid transfer",
        (_PATHS + "test_rebinding_every_five_seconds_in_mid_transfer_delivers_exactly",),
    ),
    Entry(
        "PMTU black hole",
        (
            _PMTU + "test_a_path_whose_mtu_falls_in_mid_transfer_carries_the_transfer_on",
            _PMTU + "test_a_black_hole_one_way_shows_though_small_packets_go_on_both_ways",
        ),
    ),
    Entry(
        "ICMP forged",
        (
            _UDP + "test_datagrams_are_never_cut_on_the_way_whatever_icmp_says",
            "netns/test_icmp.py::test_forged_icmp_neither_stops_nor_slows_a_transfer_nor_lowers_its_mtu",
        ),
    ),
)
