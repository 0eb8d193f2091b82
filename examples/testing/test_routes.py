"""Tests of routes.yaml: decisions one by one, without a network; then whole requests on loopback."""


def test_testers_get_v2(gateway_routes):
    decision = gateway_routes("routes.yaml").get("/api/1", headers={"end-user": "jason"})
    assert decision.route == "testers"
    assert decision.destinations == {"reviews/v2": 100.0}


def test_one_in_ten_gets_v2(gateway_routes):
    decision = gateway_routes("routes.yaml").get("/api/1")
    assert decision.destinations == {"reviews/v1": 90.0, "reviews/v2": 10.0}
    assert 50 < decision.draws(1000)["reviews/v2"] < 150


def test_the_prefix_is_cut_off(gateway_routes):
    decision = gateway_routes("routes.yaml").get("/api/1?full=yes")
    assert decision.path == "/1"
    assert decision.headers["x-stage"] == "production"
    assert (decision.timeout, decision.retries) == (2.0, 2)


def test_old_addresses_move(gateway_routes):
    decision = gateway_routes("routes.yaml").get("/old/1")
    assert decision.status == 301
    assert decision.answer_headers["location"] == "http://reviews/api/"


def test_nobody_deletes(gateway_routes):
    decision = gateway_routes("routes.yaml").delete("/api/1")
    assert not decision.allowed
    assert decision.status == 403
    assert decision.verdicts["default/no-deletes"].matched


def test_a_failure_is_repeated(gateway_server):
    gateway = gateway_server("routes.yaml")
    v2 = gateway.backend("reviews", "v2")
    v2.answers(200, "better")
    v2.answers(503, times=1)  # first this, once

    response = gateway.get("/1", host="reviews", headers={"end-user": "jason"})

    assert (response.status_code, response.text) == (200, "better")
    assert [call.headers["x-envoy-attempt-count"] for call in v2.calls] == ["1", "2"]
