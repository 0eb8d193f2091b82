"""Every row of the security examination: the attack, what must become of it, and the tests that prove it.

Rows of requests (S, H, P, U) and responses (R) are made from the corpora themselves; the others stand here.
A test fails when a row has no test, or names one that is gone; docs/security.md is made of these rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.broken import PLAYS
from support.exam import ALL
from support.stock import DIFFERENCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.attacks import Case

HOLDS, NOT_OFFERED, PARTLY = "holds", "not offered", "holds in part"


@dataclass(frozen=True)
class Row:
    """One attack."""

    id: str
    attack: str
    required: str
    tests: tuple[str, ...]
    """`tests/server/test_corpus.py::test_name`, in brackets the parameter."""
    result: str = HOLDS
    stock: str = ""
    """What stock uvicorn does instead: `httptools: ...; h11: ...`."""


LISTED = {
    "S": (1, 2, 4, 6, 10, 12, 16, 17, 19, 20, 23, 25, 27, 29, 31, 32, 33, 34, 35, 38, 40, 41, 42, 43, 45, 47, 48, 50, 51, 52),
    "H": (2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 22, 24, 25),
    "P": (1, 2, 3, 4, 7, 9, 12, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24, 28),
    "C": range(1, 9),
    "U": (1, 2, 3, 6, 7, 8, 10),
    "D": (*range(1, 7), *range(10, 34)),
    "R": range(1, 26),
    "J": range(1, 26),
    "T": range(1, 19),
    "W": range(1, 9),
    "F": range(1, 13),
    "I": range(1, 68),
}  # fmt: skip
"""The rows that there must be, by letter."""
IDS = tuple(f"{letter}{number:02}" for letter, numbers in LISTED.items() for number in numbers) + tuple(
    f"H2-{number:02}" for number in range(1, 11)
)

CORPUS = "tests/security/test_exam_corpus.py::test_a_whole_gateway_answers_and_forwards"
SPELLING = "tests/security/test_exam_corpus.py::test_one_spelling_is_judged_and_forwarded"
RESPONSES = "tests/security/test_exam_responses.py::test_what_a_backend_sends_reaches_nobody_else"
_ID = re.compile(r"([A-Z]\d\d) (.+)")


def row(row_id: str, attack: str, required: str, *tests: str, result: str = HOLDS) -> Row:
    """A row by hand; tests as `room/test_module::test_name`."""
    places = tuple("tests/" + test.replace("::", ".py::", 1) for test in tests)
    return Row(row_id, attack, required, places, result)


def _of_requests() -> Iterator[Row]:
    spellings = {case.id for case in ALL[-18:]}
    for case in ALL:
        match = _ID.fullmatch(case.id)
        if match is not None:
            place = (
                SPELLING if case.id in spellings and case.id.startswith("P") and not case.reason else CORPUS
            )
            yield Row(match[1], match[2], _outcome(case), (f"{place}[{case.id}]",), stock=_stock(case))


def _outcome(case: Case) -> str:
    statuses = ", ".join(map(str, case.statuses))
    if case.statuses == (200,):
        (path,) = case.seen or (b"",)
        shown = path.decode() if len(path) < 60 else path[:8].decode() + "…"
        return f"200, forwarded as `{shown}`"
    reason = f" `{case.reason}`, closed" if case.reason else ""
    return statuses + reason


def _stock(case: Case) -> str:
    told = []
    for parser, table in sorted(DIFFERENCES.items()):
        if case.id in table:
            found = table[case.id]
            told.append(f"{parser}: " + ("hangs" if found is None else ", ".join(map(str, found[0]))))
    return "; ".join(told)


def _of_responses() -> Iterator[Row]:
    for play in PLAYS:
        match = _ID.fullmatch(play.id)
        if match is not None:
            status = "cut off" if not play.status else str(play.status)
            yield Row(
                match[1],
                match[2],
                f"{status}; the next client gets its own answer",
                (f"{RESPONSES}[{play.id}]",),
            )


_BY_HAND = (
    # -- timed
    row("D01", "a connection without a word", "closed after 10 s", "security/test_exam_limits::test_d01_d06_silence_is_closed", "server/test_corpus::test_d01_a_silent_connection_is_closed_after_ten_seconds"),
    row("D02", "a head without end, also a byte a second", "408, closed", "security/test_exam_limits::test_d02_a_head_that_stops", "security/test_exam_limits::test_d02_a_head_byte_by_byte", "server/test_corpus::test_d02_a_head_that_does_not_end_is_answered_408"),
    row("D03", "a body that stops", "408; the backend's slot is free", "security/test_exam_limits::test_d03_a_body_that_stops", "server/test_corpus::test_d03_a_body_that_stops_is_answered_408_and_the_application_told", "server/test_corpus::test_d03_a_body_that_stops_under_a_response_cuts_it_off"),
    row("D03", "a body a byte a second, sized or chunked, over TLS", "408 after the grace; the backend's slot is free", "security/test_exam_limits::test_d03_a_body_byte_by_byte", "server/test_pace::test_a_byte_a_second_is_answered_408_when_the_grace_is_over"),
    row("D03", "a body that drips behind, or under, its answer", "cut off as early", "server/test_pace::test_the_rest_of_a_body_that_is_dropped_has_no_longer", "server/test_pace::test_a_body_under_its_response_is_cut_off_with_it", "server/test_pace::test_a_client_that_does_not_read_is_no_better_off"),
    row("D04", "trailers that come after the application began", "never headers", "security/test_exam_limits::test_d04_f01_trailers_are_nobody_s_headers", "server/test_corpus::test_trailers_never_become_headers"),
    row("D05", "a request behind an unknown upgrade", "403, closed; the second is never seen", "security/test_exam_limits::test_d05_u03_nothing_behind_an_unknown_upgrade", "server/test_corpus::test_d05_a_second_request_behind_an_unknown_upgrade_is_never_seen"),
    row("D06", "an idle connection", "75 s, longer than load balancers", "security/test_exam_limits::test_d01_d06_silence_is_closed", "server/test_corpus::test_d06_an_idle_connection_lives_75_seconds"),
    # -- hop-by-hop and claimed headers
    row("C01", "Connection names X-Forwarded-For", "400", "security/test_exam_corpus::test_protected_headers_cannot_be_nominated"),
    row("C02", "Connection names Authorization", "400", "security/test_exam_corpus::test_protected_headers_cannot_be_nominated"),
    row("C03", "Connection names an identity header", "400", "security/test_exam_corpus::test_protected_headers_cannot_be_nominated"),
    row("C04", "a client's own x-forwarded-client-cert", "removed; written from the verified certificate alone", "security/test_exam_corpus::test_claims_of_nobody_are_dropped", "security/test_exam_seed::test_the_security_blocks_of_the_founding_document", "tls/test_xfcc::test_without_a_verified_certificate_there_is_no_element"),
    row("C05", "x-envoy-* and x-gateway-* of a client", "removed", "security/test_exam_corpus::test_claims_of_nobody_are_dropped"),
    row("C06", "forwarding headers of an untrusted peer", "removed, written anew; the scheme is the socket's", "security/test_exam_corpus::test_claims_of_nobody_are_dropped", "exchange/test_hygiene::test_forwarding_headers_are_ours"),
    row("C07", "method override, X-Original-URL, X-Rewrite-URL", "addresses removed; overrides mean nothing here", "security/test_exam_corpus::test_claims_of_nobody_are_dropped"),
    row("C08", "Proxy, Proxy-Authorization, Keep-Alive, TE", "removed", "security/test_exam_corpus::test_claims_of_nobody_are_dropped"),
    # -- responses beyond the corpus
    row("R23", "a line end in a value that a template writes", "the value is left out", "security/test_exam_more::test_templates_repeat_nothing_that_ends_a_line", "security/test_exam_tokens::test_r23_a_claim_in_a_template", "routing/test_header_ops::test_a_value_never_starts_another_header", "security/test_exam_invented::test_i07_an_echoed_value_stays_a_value"),
    row("R24", "a client that reads a byte a second", "bounded buffers, reading pauses, cut off when nothing moves", "security/test_exam_limits::test_r24_a_client_that_reads_nothing", "upstream/test_connection::test_a_large_download_is_held_back_while_nobody_reads", "server/test_protocol_limits::test_a_client_that_reads_nothing_for_five_minutes_is_cut_off"),
    row("R25", "an answer while the client still uploads", "delivered; the connection is not used again", "security/test_exam_limits::test_r25_an_answer_while_the_client_uploads", "upstream/test_connection_uploads::test_an_answer_during_the_upload_is_delivered_and_ends_the_connection", "server/test_protocol_bodies::test_an_early_answer_to_a_long_upload_arrives_and_closes"),
    # -- tokens
    row("J01", "`alg: none` in any case", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt_token::test_headers_that_are_refused"),
    row("J02", "HS256 with the text of the public key", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_a_public_key_is_no_secret"),
    row("J03", "HS256 with the JSON of the public key", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_a_public_key_is_no_secret"),
    row("J04", "another algorithm than the header names", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_the_named_algorithm_is_the_one_that_verifies"),
    row("J05", "`crit` with an extension nobody knows", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt_token::test_headers_that_are_refused"),
    row("J06", "`b64: false`, or a huge token", "401 before it is decoded", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt_token::test_headers_that_are_refused", "security/test_jwt_token::test_a_long_token_is_not_read"),
    row("J07", "`jku`, `x5u`, `jwk` of the token", "not read, nothing is fetched", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_exam_tokens::test_j07_j24_what_a_token_names_is_not_fetched", "security/test_jwk::test_keys_in_a_token_are_not_read", "security/test_jwks::test_nothing_in_a_token_is_fetched"),
    row("J08", "`kid` as path, as SQL, 64 KiB, no text", "401; it is only compared", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_a_key_id_is_only_compared", "security/test_jwt_token::test_headers_that_are_refused"),
    row("J09", "a thousand unknown key ids", "one fetch in 30 s, the others 401 at once", "security/test_exam_tokens::test_j09_a_storm_of_unknown_keys", "security/test_jwks::test_a_storm_of_unknown_keys_causes_one_fetch"),
    row("J10", "an issuer that is down, slow, huge, or talks nonsense", "keys stay; nobody waits; it is told", "security/test_exam_tokens::test_j10_keys_from_a_bad_place_verify_nothing", "security/test_exam_tokens::test_j10_j11_keys_of_a_good_place", "security/test_jwks::test_bad_answers_leave_the_keys_there_are", "security/test_jwks_fetch::test_a_server_that_does_not_answer_is_given_up"),
    row("J11", "keys change", "no valid token refused; the old key ends", "security/test_exam_tokens::test_j10_j11_keys_of_a_good_place", "security/test_jwks::test_rotation"),
    row("J12", "dates at their edges, or of another type", "401; a minute of leeway", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt::test_tokens_and_what_is_said_of_them", "security/test_jwt_token::test_payloads_that_are_refused"),
    row("J13", "issuers and audiences that begin alike", "exact only", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_exam_tokens::test_j13_the_audience_is_exact", "security/test_jwt::test_tokens_and_what_is_said_of_them", "security/test_jwt::test_audiences"),
    row("J14", "an empty secret, one shorter than its hash (RFC 7518 3.2), no key, no JSON", "no start; of fetched keys: they verify nothing, and the log says so", "security/test_exam_tokens::test_j14_keys_that_verify_nothing_are_no_start", "security/test_exam_tokens::test_j14_each_of_them_alone_is_fatal", "config/test_request_authentication::test_a_secret_is_as_long_as_its_hash", "security/test_jwks::test_a_fetched_secret_that_is_too_short_is_left_out", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_keys_that_verify_nothing"),
    row("J15", "an ECDSA signature of zeros; keys that do not fit", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwk::test_an_ecdsa_signature_of_zeros_is_none", "security/test_jwk::test_keys_that_verify_nothing"),
    row("J16", "members twice, deep nesting, NUL, no UTF-8", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt_token::test_payloads_that_are_refused"),
    row("J17", "tokens at places that are not configured; other schemes; two headers", "no token; two are 400", "security/test_exam_tokens::test_j17_only_where_it_belongs", "security/test_jwt_location::test_bearer_headers", "security/test_exam_invented::test_i18_credentials_of_another_scheme_are_no_token"),
    row("J18", "claims with line ends, or large ones, for headers", "left out", "security/test_exam_tokens::test_j18_claims_as_headers_stay_values", "security/test_jwt::test_claims_that_are_no_header_value_are_left_out", "security/test_claims::test_a_header_value_is_one_line"),
    row("J19", "encrypted tokens; tokens of another type", "401", "security/test_exam_tokens::test_j01_to_j19_a_bad_token_gets_nowhere", "security/test_jwt_token::test_a_token_has_three_parts", "security/test_jwt_token::test_headers_that_are_refused"),
    row("J20", "a dot in a principal as a wildcard", "a dot is a dot", "security/test_exam_tokens::test_j20_j23_principals_are_compared_as_they_are", "security/test_authz_rules::test_identities_of_the_peer", "security/test_authz_text::test_strings"),
    row("J21", "a policy that writes X-Role", "names have no case", "security/test_exam_corpus::test_deny_holds_for_any_reading", "security/test_authz_rules::test_headers"),
    row("J22", "DENY on a header with two lines, or bytes that are no text", "denied", "security/test_exam_corpus::test_deny_holds_for_any_reading"),
    row("J23", "ALLOW without rules; a misspelt field", "allows nothing; the file is refused", "security/test_authz_guard::test_allow_without_rules_allows_nothing", "config/test_authorization_policy::test_unknown_fields_are_refused"),
    row("J24", "a prefix that is rewritten, and dots behind it", "400 or 403; nothing leaves the prefix", "security/test_exam_invented::test_i10_a_rewritten_path_never_leaves_its_prefix", "routing/test_rewrite::test_a_rewrite_cannot_make_a_dot_segment"),
    row("J25", "OPTIONS as a way around", "a preflight is answered where CORS is, after policies", "security/test_exam_tokens::test_j25_a_preflight_carries_nobody", "security/test_exam_invented::test_i08_a_preflight_is_no_way_in", "security/test_jwt::test_what_only_looks_like_a_preflight_is_checked"),
    # -- TLS
    row("T01", "no certificate where one is required; plain HTTP on a TLS port", "no handshake, counted; 400", "security/test_exam_tls::test_t01_t02_a_wrong_certificate_gets_no_connection", "security/test_exam_tls::test_t01_plain_http_on_a_tls_port", "tls/test_termination::test_mutual_refuses", "tls/test_termination::test_plain_http_on_a_tls_port_is_told_so", "security/test_exam_seed::test_the_security_blocks_of_the_founding_document"),
    row("T02", "expired, not yet valid, self-signed, foreign, for servers; weak keys, SHA-1", "no handshake, and the log says why", "security/test_exam_tls::test_t01_t02_a_wrong_certificate_gets_no_connection", "security/test_exam_tls::test_t02_weak_keys_and_digests", "tls/test_termination::test_mutual_refuses", "tls/test_run::test_mutual_tls_lets_only_its_own_in"),
    row("T03", "two SPIFFE URIs", "nobody", "security/test_exam_tls::test_t03_t05_t06_nobody_but_the_one_canonical_name", "tls/test_termination::test_whoever_has_not_one_spiffe_uri_is_nobody"),
    row("T04", "NUL in a name", "the connection ends", "security/test_exam_tls::test_t01_t02_a_wrong_certificate_gets_no_connection", "tls/test_termination::test_a_name_with_control_characters_ends_the_connection"),
    row("T05", "SPIFFE IDs in another spelling", "nobody", "security/test_exam_tls::test_t03_t05_t06_nobody_but_the_one_canonical_name", "tls/test_spiffe::test_every_other_spelling_is_nobody", "tls/test_spiffe::test_an_id_has_a_length"),
    row("T06", "trust domains that begin or end alike", "exact only", "security/test_exam_tls::test_t03_t05_t06_nobody_but_the_one_canonical_name", "security/test_exam_seed::test_the_security_blocks_of_the_founding_document", "tls/test_termination::test_an_authority_speaks_for_its_own_trust_domain_only"),
    row("T07", "a common name; names that look like fields of XFCC", "never an identity; quoted", "security/test_exam_tls::test_t07_names_stay_inside_their_field", "security/test_exam_tls::test_t07_a_common_name_is_nobody", "tls/test_termination::test_whoever_has_not_one_spiffe_uri_is_nobody", "tls/test_xfcc::test_a_uri_cannot_pass_for_another_value"),
    row("T08", "XFCC where the server has no TLS", "removed; identity is of our handshake or uvicorn's", "security/test_exam_tls::test_t08_a_client_s_own_xfcc_is_nobody_s", "security/test_exam_corpus::test_claims_of_nobody_are_dropped", "tls/test_identity::test_another_server_s_connection_has_an_identity"),
    row("T09", "name constraints, path lengths, purposes, wildcards", "no handshake; wildcards are one label; nothing is fetched", "security/test_exam_tls::test_t09_a_chain_is_built_by_the_rules", "security/test_exam_tls::test_t09_the_authority_between_has_to_be_shown", "security/test_exam_origination::test_t14_a_stranger_gets_no_request", "tls/test_identity::test_names_are_compared_as_envoy_does"),
    row("T10", "half a pair on disk, bad PEM", "the old pair stays", "security/test_exam_tls::test_t10_t11_credentials_change_under_connections", "tls/test_rotation::test_half_a_pair_keeps_the_old_one", "tls/test_rotation::test_what_cannot_be_read_stays_as_it_was"),
    row("T11", "authorities change", "both during the overlap; a removed one at once", "security/test_exam_tls::test_t10_t11_credentials_change_under_connections", "tls/test_rotation::test_authorities_overlap_while_they_change", "tls/test_rotation::test_removed_trust_is_not_resumed_past"),
    row("T12", "a resumed session past a revocation, or at another host", "not resumed", "security/test_exam_tls::test_t12_a_session_is_not_resumed_elsewhere", "security/test_exam_tls::test_t10_t11_credentials_change_under_connections", "tls/test_rotation::test_removed_trust_is_not_resumed_past", "tls/test_handshakes::test_a_resumed_session_past_its_certificate_s_end_is_refused"),
    row("T13", "SNI and Host differ; no SNI", "421; no handshake where nobody serves the name", "security/test_exam_tls::test_t13_a_request_belongs_to_its_connection", "tls/test_misdirected::test_misdirected_requests_are_told_so", "tls/test_termination::test_a_name_that_nobody_serves_is_refused"),
    row("T14", "a backend that is not who it should be", "503 `UF`, no byte of the request is sent", "security/test_exam_origination::test_t14_a_stranger_gets_no_request", "security/test_exam_origination::test_t14_unverified_tls_has_to_be_asked_for_by_its_name", "tls/test_origination::test_a_stranger_gets_no_request"),
    row("T15", "a revoked certificate; an expired list", "refused; everybody is", "security/test_exam_tls::test_t15_revoked_and_unknown", "tls/test_termination::test_an_expired_revocation_list_refuses_everybody", "tls/test_rotation::test_a_new_revocation_counts_at_once", result=f"{HOLDS}; OCSP stapling is not done"),
    row("T16", "TLS 1.1, weak ciphers, renegotiation, early data", "refused, not offered", "security/test_exam_tls::test_t16_old_versions_and_weak_suites", "security/test_exam_tls::test_t16_renegotiation_and_early_data", "tls/test_termination::test_versions_and_ciphers_are_limited"),
    row("T17", "handshakes that flood or trickle", "10 s each, 1024 at a time", "security/test_exam_tls::test_t17_a_handshake_that_trickles_ends", "security/test_exam_tls::test_t17_handshakes_that_flood_leave_room_again", "tls/test_handshakes::test_half_a_handshake_has_its_time", "tls/test_handshakes::test_handshakes_at_a_time_are_limited"),
    row("T18", "a PROXY preface", "no request: refused and closed", "security/test_exam_tls::test_t18_a_proxy_preface_is_no_handshake", "security/test_exam_invented::test_i17_the_proxy_protocol_is_not_spoken", result=NOT_OFFERED),
    # -- exhaustion, retries, copies, fetches
    row("D10", "more connections than allowed", "503, closed; recovers", "security/test_exam_limits::test_d10_connections_beyond_the_limit", "server/test_protocol_limits::test_connections_beyond_the_limit_are_answered_503"),
    row("D11", "a regular expression of exponential time", "RE2: linear", "security/test_exam_load::test_d11_d12_d29_a_hostile_file_changes_nothing", "security/test_exam_invented::test_i09_a_regular_expression_takes_linear_time", "config/test_fields::test_what_re2_does_not_take_is_no_regex"),
    row("D12", "alias bombs, deep nesting, large files, tags, keys twice", "refused with a place", "security/test_exam_load::test_d11_d12_d29_a_hostile_file_changes_nothing", "config/test_yaml::test_an_alias_bomb_is_refused", "config/test_yaml::test_deep_nesting_is_refused_without_recursion", "config/test_yaml::test_the_size_is_limited", "config/test_yaml::test_what_could_surprise_is_a_finding_at_its_place"),
    row("D13", "reloads under load", "no request lost or judged by two generations", "control/test_under_load::test_reloads_lose_no_request_and_mix_no_generations"),
    row("D14", "a retry storm", "retries are a fifth", "wire/test_retry_budgets::test_while_everything_fails_retries_are_a_fifth", "exchange/test_retry::test_a_backend_that_says_it_is_overloaded_is_left_alone"),
    row("D15", "a POST that a backend may have seen", "not repeated unless it is named", "wire/test_retries::test_a_post_that_a_backend_may_have_seen_is_repeated_only_when_named"),
    row("D16", "a long upload on a route with retries", "bounded; sent once", "wire/test_retries::test_a_body_that_is_too_long_to_keep_is_sent_once_and_the_log_says_so"),
    row("D17", "clients that leave at every stage", "nothing leaks", "security/test_exam_limits::test_d17_f11_clients_that_leave_leak_nothing", "upstream/test_pool_counts::test_clients_that_leave_at_every_stage_leak_nothing", "wire/test_exchange::test_a_client_that_leaves_ends_its_upstream_and_leaks_nothing"),
    row("D18", "an idle connection that closes under a request", "repeated once where that is safe", "wire/test_exchange::test_an_idle_connection_that_closes_under_a_request_costs_it_nothing", "exchange/test_retry::test_a_post_survives_a_stale_connection_only_before_its_body"),
    row("D19", "slow mirrors; credentials in copies", "bounded; removed", "security/test_exam_more::test_a_copy_holds_no_credential", "wire/test_mirrors::test_a_slow_mirror_holds_nobody_up_and_gets_a_bounded_number", "wire/test_mirrors::test_a_mirror_gets_the_whole_request_without_its_credentials"),
    row("D20", "faults ordered by a client's header", "removed, unheard", "security/test_exam_corpus::test_claims_of_nobody_are_dropped"),
    row("D21", "line ends, escapes and lookups in the log", "one value of one line; at most 4 KiB", "security/test_exam_load::test_d21_a_long_path_is_a_short_value", "security/test_exam_invented::test_i15_what_a_client_says_stays_in_its_line_of_the_log", "telemetry/test_lines::test_whatever_a_client_sends_stays_one_value_of_one_text_line", "telemetry/test_lines::test_long_values_are_cut"),
    row("D22", "labels that clients choose", "no new series; a limit", "security/test_exam_load::test_d22_clients_make_no_series", "telemetry/test_counters::test_what_clients_choose_makes_no_new_series", "telemetry/test_counters::test_beyond_the_limit_requests_are_counted_together"),
    row("D23", "broken trace contexts; sampling ordered by a client", "a new trace; our decision", "security/test_exam_load::test_d23_trace_headers_break_nothing", "telemetry/test_sampling::test_callers_cannot_have_everything_traced", "telemetry/test_tracing::test_a_broken_context_begins_a_new_trace"),
    row("D24", "a forged affinity cookie", "one of the configured endpoints", "security/test_exam_invented::test_i21_affinity_is_no_address"),
    row("D25", "Hosts that are addresses, inside names, odd spellings", "404 or 400; no connection", "security/test_exam_more::test_redirects_lead_where_the_configuration_says", "security/test_exam_invented::test_i05_a_host_names_a_route_and_nothing_else", "http/test_path::test_a_redirect_never_names_a_foreign_host"),
    row("D26", "DNS answers that change, fail, are empty, or are many; TTL 0", "followed within bounds, what is under way ends where it began; the last good one stays; a look-up a second at most, 64 addresses", "security/test_exam_names::test_d26_a_new_answer_is_followed_and_what_is_under_way_ends_where_it_began", "security/test_exam_names::test_d26_no_answer_keeps_the_last_good_one", "security/test_exam_names::test_d26_ttl_0_is_no_flood", "security/test_exam_names::test_d26_a_thousand_addresses_are_bounded", "upstream/test_dns::test_every_look_up_asks_anew", "upstream/test_dns::test_a_failure_or_an_empty_answer_keeps_the_last_good_one", "upstream/test_dns::test_a_thousand_addresses_are_bounded_and_repeated_ones_are_one"),
    row("D27", "the admin listener from a web page; on the public port", "421, 403; 404", "security/test_exam_admin::test_d27_a_rebound_name_is_refused", "security/test_exam_admin::test_d27_another_site_s_form_changes_nothing", "security/test_exam_admin::test_d27_names_of_the_configuration_are_no_markup", "admin/test_listener::test_a_rebound_name_is_refused", "admin/test_listener::test_a_write_without_the_header_is_refused", "admin/test_listener::test_the_index_escapes_what_it_did_not_write", "security/test_exam_invented::test_i14_internal_pages_are_not_on_the_public_listener", result=f"{PARTLY}: on loopback, and on by default; no token"),
    row("D28", "secrets in dumps", "`[redacted sha256:…]`", "security/test_exam_admin::test_d28_no_secret_of_the_configuration_is_shown", "security/test_exam_secrets::test_no_secret_shows_anywhere", "admin/test_listener::test_the_dump_shows_what_serves_without_secrets"),
    row("D29", "links that are swapped, names that leave their folder", "read once a generation; refused", "security/test_exam_load::test_d11_d12_d29_a_hostile_file_changes_nothing", "control/test_watch::test_a_link_above_the_file_is_followed", "tls/test_credentials::test_a_name_stays_in_its_folder"),
    row("D30", "memory under many keys, names, tokens", "bounded", "security/test_exam_load::test_d30_what_clients_send_is_not_kept", "security/test_rate_bucket::test_the_number_of_keys_is_bounded", "security/test_jwt_cache::test_the_cache_is_bounded_in_bytes", "http/test_lines::test_the_memory_is_bounded", result=f"{HOLDS}; the suite sends thousands of requests, not a million"),
    row("D31", "a limit walked around by addresses and spellings", "429 all the same", "security/test_exam_authz::test_an_address_is_not_claimed", "security/test_exam_authz::test_a_key_is_the_value_and_nothing_else", "security/test_exam_authz::test_a_path_as_key_is_canonical", "security/test_exam_invented::test_i20_a_limit_is_not_walked_around_by_claims_of_the_client", "security/test_rate_key::test_addresses"),
    row("D32", "compression beside secrets", "nothing is compressed", "security/test_exam_responses::test_what_a_backend_sends_reaches_nobody_else[R21 compressed zeros]", result=NOT_OFFERED),
    row("D33", "caches", "nothing is cached", "wire/test_exchange::test_connections_are_reused", result=NOT_OFFERED),
    # -- WebSocket and HTTP/2
    row("W01", "another site's Origin", "403 where a policy names the pages", "wire/test_tunnels::test_w01_a_policy_can_name_the_origins", result=f"{PARTLY}: without such a policy every page may; WebSockets says how"),
    row("W02", "an upgrade that is refused", "relayed; no tunnel; what follows is a request that is judged", "wire/test_tunnels::test_w02_any_other_answer_is_relayed_and_opens_nothing", "wire/test_tunnels::test_a_101_for_something_else_is_502", "wire/test_tunnels::test_an_unasked_101_is_502"),
    row("W03", "bytes before 101", "held back until it has come", "wire/test_tunnels::test_w03_bytes_before_101_wait_for_it"),
    row("W04", "bombs and broken frames", "passed on unseen in bounded memory; the backend judges them", "wire/test_tunnel_ends::test_a_side_that_does_not_read_holds_the_other_back"),
    row("W05", "a token that expires in a socket; reload", "the socket stays; new handshakes are judged anew", "wire/test_tunnels::test_a_reload_leaves_tunnels_alone", "wire/test_tunnels::test_a_token_is_verified_in_the_handshake", result=f"{PARTLY}: nothing ends a socket when its token does"),
    row("W06", "half-open peers, peers that vanish", "the other side is ended as well", "wire/test_tunnel_ends::test_w06_a_client_that_vanishes_ends_its_upstream", "wire/test_tunnel_ends::test_w06_a_backend_that_vanishes_ends_its_client", "wire/test_tunnel_ends::test_a_silent_tunnel_ends_after_tunnel_idle"),
    row("W07", "headers of the handshake", "400 unless key and version are one each", "wire/test_tunnels::test_w07_a_handshake_that_could_be_read_in_two_ways_is_400"),
    row("W08", "server-sent events, clients that leave", "events pass at once; the backend is let go", "wire/test_exchange::test_a_body_is_streamed_up_and_down_at_once", "wire/test_exchange::test_a_client_that_leaves_ends_its_upstream_and_leaks_nothing"),
    *(
        row(f"H2-{number:02}", attack, "HTTP/1.1 is the only protocol: 505, or no such ALPN", "security/test_exam_corpus::test_a_whole_gateway_answers_and_forwards[S46 PRI preface]", "security/test_exam_tls::test_h2_is_not_agreed_on", "tls/test_termination::test_http_1_1_is_agreed_on", result=NOT_OFFERED)
        for number, attack in enumerate(("rapid reset", "CONTINUATION flood, HPACK bomb", "MadeYouReset", "floods of control frames", "CR, LF and odd names in fields", "lengths that disagree with DATA", ":authority and host differ", "extended CONNECT", "a reset that poisons an upstream connection", "a preface on an HTTP/1 port"), 1)
    ),
    # -- what the parts under the gateway get wrong
    row("F01", "trailers that are merged into headers", "dropped", "security/test_exam_limits::test_d04_f01_trailers_are_nobody_s_headers", "server/test_corpus::test_trailers_never_become_headers", "wire/test_exchange::test_request_trailers_never_become_headers"),
    row("F02", "left-over bytes for the next request", "the connection is closed", "security/test_exam_responses::test_leftovers_that_come_late_reach_nobody", "upstream/test_connection::test_bytes_beyond_a_response_end_its_connection"),
    row("F03", "a path that changes after it was judged", "one canonical path", "security/test_exam_corpus::test_one_spelling_is_judged_and_forwarded"),
    row("F04", "no deadlines for heads and bodies", "10 s and 60 s", "security/test_exam_more::test_plain_uvicorn_gives_what_only_a_server_can", "security/test_exam_limits::test_d02_a_head_that_stops", "security/test_exam_limits::test_d03_a_body_that_stops", "server/test_corpus::test_d02_a_head_that_does_not_end_is_answered_408"),
    row("F05", "no limits of head, headers, chunk extensions", "431, 400", "security/test_exam_corpus::test_a_whole_gateway_answers_and_forwards[H22 header of 200 KiB]"),
    row("F06", "h11: length and encoding together", "400 behind any server", "security/test_exam_stock::test_both_parsers_refuse_what_smuggles"),
    row("F07", "httptools: no Host, two Hosts", "400 behind any server", "security/test_exam_stock::test_a_stock_parser_differs_where_it_is_known_to[httptools-H10 no Host]", "exchange/test_hygiene::test_no_host_is_refused"),
    row("F08", "Hosts and targets that no parser refuses", "400", "http/test_host::test_anything_else_is_no_authority"),
    row("F09", "uvicorn believes loopback", "taken off; `trustedProxies` decides", "security/test_exam_more::test_uvicorn_with_h11_says_what_it_lacks", "server/test_hook::test_uvicorn_uses_our_protocol_or_says_why_not", "exchange/test_trust::test_nobody_is_trusted_by_default"),
    row("F10", "responses that crash the server", "sanitized", "server/test_response::test_framing_and_persistence_are_the_connections_affair", "wire/test_exchange::test_head_and_not_modified_have_no_body"),
    row("F11", "a pool slot lost when a request is cancelled", "none is", "security/test_exam_limits::test_d17_f11_clients_that_leave_leak_nothing", "upstream/test_pool_counts::test_clients_that_leave_at_every_stage_leak_nothing"),
    row("F12", "what other Python proxies forward", "removed or refused", "security/test_exam_corpus::test_claims_of_nobody_are_dropped"),
    # -- our own
    row("I01", "a kept-out host with a port", "403", "security/test_exam_invented::test_i01_a_kept_out_host_is_kept_out_on_any_port"),
    row("I02", "the token of the request before", "nobody's", "security/test_exam_invented::test_i02_nobody_inherits_the_token_of_the_request_before"),
    row("I03", "a header that only a claim may fill", "removed, in trailers too", "security/test_exam_invented::test_i03_a_claim_header_is_never_the_client_s"),
    row("I04", "Connection names Transfer-Encoding", "framed, or refused", "security/test_exam_invented::test_i04_framing_cannot_be_nominated_away"),
    row("I05", "a Host as an address to connect to", "404", "security/test_exam_invented::test_i05_a_host_names_a_route_and_nothing_else"),
    row("I06", "line ends and slashes in a path that is redirected", "one Location, on the same host", "security/test_exam_invented::test_i06_a_redirect_stays_one_header_on_one_host"),
    row("I07", "values that templates repeat", "values, not expanded again", "security/test_exam_invented::test_i07_an_echoed_value_stays_a_value"),
    row("I08", "a preflight for a kept-out path", "403", "security/test_exam_invented::test_i08_a_preflight_is_no_way_in"),
    row("I09", "40 000 bytes for a nested quantifier", "linear time", "security/test_exam_invented::test_i09_a_regular_expression_takes_linear_time"),
    row("I10", "dots behind a prefix that is rewritten", "400 or 403", "security/test_exam_invented::test_i10_a_rewritten_path_never_leaves_its_prefix"),
    row("I11", "500 refused requests and a good one in a packet", "each is judged", "security/test_exam_invented::test_i11_many_refused_requests_in_one_packet_reach_nobody"),
    row("I12", "10 000 chunks of a byte, with extensions", "one body, framed anew", "security/test_exam_invented::test_i12_a_body_of_single_bytes_is_one_body"),
    row("I13", "pseudo headers, invisible bytes in names", "400, closed", "security/test_exam_invented::test_i13_names_that_look_like_others_are_refused"),
    row("I14", "internal pages on the public port", "404", "security/test_exam_invented::test_i14_internal_pages_are_not_on_the_public_listener"),
    row("I15", "escapes and line ends in logged values", "one line of JSON", "security/test_exam_invented::test_i15_what_a_client_says_stays_in_its_line_of_the_log"),
    row("I16", "another protocol behind a good request", "400 or 505, closed", "security/test_exam_invented::test_i16_what_follows_a_request_is_a_request_or_the_end"),
    row("I17", "a preface that names another client", "refused, closed", "security/test_exam_invented::test_i17_the_proxy_protocol_is_not_spoken"),
    row("I18", "a token under another scheme", "no token", "security/test_exam_invented::test_i18_credentials_of_another_scheme_are_no_token"),
    row("I19", "a connection of before a stricter file", "judged by the new one", "security/test_exam_invented::test_i19_a_stricter_file_counts_on_connections_that_stand"),
    row("I20", "spellings and addresses against a limit", "one bucket", "security/test_exam_invented::test_i20_a_limit_is_not_walked_around_by_claims_of_the_client"),
    row("I21", "an address in an affinity cookie", "a configured endpoint", "security/test_exam_invented::test_i21_affinity_is_no_address"),
    row("I22", "a head that a FIN cuts off", "no request", "security/test_exam_invented::test_i22_the_end_of_a_connection_is_not_the_end_of_a_head"),
    row("I23", "a backend's DNS name as a URI in its certificate", "503 `UF`: each kind of name by itself (CVE-2022-21656)", "security/test_exam_origination::test_t14_a_stranger_gets_no_request"),
    row("I24", "a certificate whose issuer says where to fetch it", "nothing is fetched", "security/test_exam_tls::test_t09_the_authority_between_has_to_be_shown"),
    row("I25", "credentials changed where nobody watches", "SIGHUP and `POST /reload` read them too", "security/test_exam_tls::test_t10_t11_credentials_change_under_connections"),
    row("I27", "a good token in one place and a bad one, or another's, in the next", "401", "security/test_exam_tokens::test_two_tokens_have_to_agree"),
    row("I28", "a claim for routing that nobody verified", "not believed", "security/test_exam_tokens::test_routing_by_claims_believes_verified_ones_only"),
    row("I29", "a remembered token past its end", "401", "security/test_exam_tokens::test_a_cached_token_ends_with_its_time"),
    row("I30", "the token of another connection", "nobody's", "security/test_exam_tokens::test_the_token_of_one_connection_is_nobody_s_on_the_next"),
    row("I31", "keys by redirect from a file or in plain text, compressed, endless", "not taken, and told", "security/test_exam_tokens::test_j10_keys_from_a_bad_place_verify_nothing"),
    row("I32", "an authorization service that is silent, huge, broken, or says 5xx", "403, nothing shown of it", "security/test_exam_authz::test_a_service_that_fails_refuses"),
    row("I33", "an authorization service that redirects, or says 201", "its refusal; nothing is followed", "security/test_exam_authz::test_a_refusal_is_the_service_s"),
    row("I34", "an authorization service that gives framing, Host, Connection", "left out", "security/test_exam_authz::test_an_answer_gives_what_it_may_give"),
    row("I35", "a client's own header where only the service may give it", "removed", "security/test_exam_authz::test_what_the_service_does_not_say_nobody_says"),
    row("I36", "line ends in headers of the service", "no second header", "security/test_exam_authz::test_headers_of_the_service_are_not_split"),
    row("I37", "a path that leaves the service's prefix", "canonical, or 400", "security/test_exam_authz::test_the_service_sees_the_path_that_is_forwarded"),
    row("I38", "a file of configuration or policies that is written in place", "never served by halves", "security/test_exam_load::test_a_file_that_is_being_written_is_not_served"),
    row("I39", "admin: Host none, twice, in the target", "400; the one that counts", "security/test_exam_admin::test_d27_one_host_is_named"),
    row("I40", "admin: a preflight of another site", "no permission", "security/test_exam_admin::test_d27_no_permission_for_other_origins"),
    row("I41", "admin: paths out of the console's folder", "404", "security/test_exam_admin::test_d27_files_outside_the_console_are_not_served"),
    row("I42", "admin: CONNECT, TRACE, addresses of others", "refused", "security/test_exam_admin::test_the_listener_is_not_a_proxy"),
    row("I43", "admin: 150 silent connections", "clients of the gateway do not notice", "security/test_exam_admin::test_a_crowd_at_the_admin_listener_is_the_listener_s_own"),
    row("I57", "the same headers again on one connection", "what a service gave or took is gone with its request", "security/test_exam_authz::test_what_one_request_was_given_the_next_one_has_not"),
    row("I58", "10 000 pipelined requests", "answered in order; others meanwhile", "security/test_exam_more::test_ten_thousand_pipelined_requests"),
    row("I59", "HEAD of what is refused, denied, redirected", "no body; the next answer is the next request's", "security/test_exam_more::test_head_has_no_body_that_could_be_the_next_answer"),
    row("I60", "a denied upload whose body is requests", "never seen", "security/test_exam_more::test_a_refused_upload_is_not_the_next_request"),
    row("I61", "a thousand tiny header lines", "431", "security/test_exam_more::test_a_thousand_tiny_header_lines"),
    row("I62", "path, Host and agent in a response header", "one value each", "security/test_exam_more::test_templates_repeat_nothing_that_ends_a_line"),
    row("I63", "headers and parameters twice, named by Connection, escaped, for matches", "one reading", "security/test_exam_more::test_matches_look_at_what_is_forwarded"),
    row("I64", "headers that settings of before a reload let pass, again on the same connection", "judged by the new settings", "security/test_exam_load::test_settings_of_a_reload_hold_on_connections_that_stand"),
    row("I65", "origins that begin, end or look like an allowed one", "no permission", "security/test_exam_more::test_origins_are_compared_whole"),
    row("I66", "a denied upload that waits for 100 Continue (0.CL)", "what follows is no request", "security/test_exam_more::test_a_body_that_waits_for_its_continue_is_no_request"),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*_of_requests(), *_of_responses(), *_BY_HAND)
