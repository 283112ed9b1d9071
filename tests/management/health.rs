//! Health checks, and what RabbitMQ's API has no words for.

use serde_json::json;

use crate::asking::{ask, expect, refuse};
use crate::support::TestBroker;

#[test]
fn a_broker_that_is_well_says_so() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for path in [
        "/aliveness-test/%2F",
        "/healthchecks/node",
        "/healthchecks/node/rabbit@localhost",
        "/health/checks/alarms",
        "/health/checks/local-alarms",
        "/health/checks/virtual-hosts",
        "/health/checks/is-in-service",
        "/health/checks/ready-to-serve-clients",
        "/health/checks/below-node-connection-limit",
        "/health/checks/node-is-quorum-critical",
        "/health/checks/metadata-store/initialized",
        "/health/checks/protocol-listener/amqp091",
        "/health/checks/protocol-listener/http",
        "/health/checks/certificate-expiration/2/weeks",
    ] {
        assert_eq!(http.get(path)["status"], "ok", "{path}");
    }
    let port = broker.address().port();
    let listener = http.get(&format!("/health/checks/port-listener/{port}"));
    assert_eq!(listener, json!({"status": "ok", "port": port}));
}

#[test]
fn what_is_not_listened_on_is_missing() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let reply = ask(&http, "GET /health/checks/protocol-listener/mqtt");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["missing"], "mqtt");
    let reply = ask(&http, "GET /health/checks/port-listener/1");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reason"], "No active listener");
    let unit = "Time unit not recognised. Supported units: days, weeks, months, years.";
    refuse(
        &http,
        &[
            ("GET /health/checks/port-listener/a", 400, "Invalid port"),
            ("GET /health/checks/certificate-expiration/1/foo", 400, unit),
            ("GET /health/checks/foo", 404, "Not Found"),
            ("GET /aliveness-test/none", 404, "Not Found"),
            ("GET /healthchecks/node/elsewhere", 404, "Not Found"),
        ],
    );
}

#[test]
fn the_status_counts_what_there_is() {
    let broker = TestBroker::with_management();
    let _client = broker.connect();
    let status = broker.http().get("/leveret/status");
    assert_eq!(status["totals"]["connections"], 1);
    assert_eq!(status["totals"]["channels"], 1);
    assert_eq!(status["vhosts"], 1);
    assert_eq!(status["alarms"], json!([]));
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["is_under_maintenance"], false);
}

#[test]
fn passwords_are_tried_without_letting_anybody_in() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let right = json!({"username": "guest", "password": "guest"});
    let reply = http.post("/leveret/authenticate", &right).json();
    assert_eq!(reply, json!({"ok": true, "reason": null}));
    let wrong = json!({"username": "guest", "password": "x"});
    let reply = http.post("/leveret/authenticate", &wrong).json();
    assert_eq!(reply, json!({"ok": false, "reason": "invalid credentials"}));
}

#[test]
fn connections_of_a_user_are_closed_with_the_reason() {
    let broker = TestBroker::with_management();
    broker.add_user("one");
    broker.permit("one", "/", ["", "", ""]);
    let mut client = broker.connect_as("one", "/");
    let mut other = broker.connect();
    let body = json!({"user": "one", "reason": "enough"});
    let reply = broker.http().post("/leveret/close-connections", &body);
    assert_eq!(reply.json(), json!({"closed": 1}));
    client.expect_connection_close(320, "CONNECTION_FORCED - enough");
    other.declare_queue("still-here");
}

#[test]
fn clients_are_turned_away_while_listeners_are_suspended() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut client = broker.connect();
    expect(
        &http,
        &[
            (r#"POST /leveret/listeners {"accepting":false}"#, 204),
            ("GET /health/checks/ready-to-serve-clients", 503),
        ],
    );
    broker.connect_raw().expect_end();
    client.declare_queue("still-here");
    expect(
        &http,
        &[(r#"POST /leveret/listeners {"accepting":true}"#, 204)],
    );
    broker.connect();
}

#[test]
fn a_reset_leaves_what_a_first_start_has() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("one");
    broker.add_vhost("test");
    expect(&http, &[("PUT /queues/%2F/q {}", 201)]);
    let client = broker.connect();
    expect(&http, &[("POST /leveret/reset {}", 400)]);
    drop(client);
    expect(&http, &[(r#"POST /leveret/reset {"force":true}"#, 204)]);
    let definitions = http.get("/definitions");
    assert_eq!(definitions["queues"], json!([]));
    assert_eq!(definitions["users"].as_array().unwrap().len(), 1);
    assert_eq!(definitions["vhosts"].as_array().unwrap().len(), 1);
    broker.connect();
}

#[test]
fn what_is_up_to_the_program_is_refused_by_an_embedded_broker() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            ("GET /leveret/environment", 501),
            (r#"POST /leveret/log-level {"level":"debug"}"#, 501),
            ("POST /leveret/rotate-logs {}", 501),
        ],
    );
}

#[test]
fn ours_is_for_administrators() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /users/o {"tags":"monitoring","password":"o"}"#;
    expect(&http, &[(put, 201)]);
    let user = http.user("o", "o");
    for request in ["GET /leveret/status", "POST /leveret/stop {}"] {
        assert_eq!(ask(&user, request).status, 401, "{request}");
    }
}
