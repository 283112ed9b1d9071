//! Queues, exchanges and bindings, changed as the user who asks.

use serde_json::json;

use crate::asking::{ask, expect, refuse};
use crate::support::TestBroker;

#[test]
fn queues_are_declared_purged_and_deleted() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /queues/%2F/q {"durable":true,"arguments":{"x-max-length":10}}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    let publish = r#"POST /exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    expect(
        &http,
        &[
            (publish, 200),
            ("DELETE /queues/%2F/q?if-empty=true", 400),
            ("DELETE /queues/%2F/q/contents", 204),
            (r#"POST /queues/%2F/q/actions {"action":"sync"}"#, 204),
            ("DELETE /queues/%2F/q?if-empty=true&if-unused=true", 204),
            ("DELETE /queues/%2F/q", 404),
            ("DELETE /queues/%2F/q/contents", 404),
        ],
    );
}

#[test]
fn what_makes_no_queue_is_refused_in_rabbitmqs_words() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(&http, &[("PUT /queues/%2F/q {}", 201)]);
    refuse(
        &http,
        &[
            (
                r#"PUT /queues/%2F/q {"durable":false}"#,
                400,
                "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but \
                 current is 'true'",
            ),
            (
                r#"PUT /queues/%2F/p {"durable":"yes"}"#,
                400,
                r#"["not_boolean","yes"]"#,
            ),
            (
                r#"PUT /queues/%2F/p {"arguments":{"x":null}}"#,
                400,
                "null_not_allowed",
            ),
            ("PUT /queues/%2F/amq.p {}", 401, "Access refused."),
            ("PUT /queues/none/p {}", 404, "vhost_not_found"),
            (
                r#"POST /queues/%2F/q/actions {"action":"foo"}"#,
                400,
                r#"["unknown","foo"]"#,
            ),
        ],
    );
}

#[test]
fn exchanges_are_declared_and_deleted() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /exchanges/%2F/x {"type":"topic","durable":true}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    refuse(
        &http,
        &[
            (
                r#"PUT /exchanges/%2F/x {"type":"direct"}"#,
                400,
                "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'direct' but \
                 current is 'topic'",
            ),
            ("PUT /exchanges/%2F/amq.y {}", 401, "Access refused."),
            ("DELETE /exchanges/%2F/amq.direct", 401, "Access refused."),
            ("DELETE /exchanges/%2F/amq.default", 401, "Access refused."),
        ],
    );
    expect(
        &http,
        &[
            ("DELETE /exchanges/%2F/x", 204),
            ("DELETE /exchanges/%2F/x", 404),
        ],
    );
}

#[test]
fn a_binding_is_deleted_where_its_location_says() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            (r#"PUT /exchanges/%2F/x {"type":"headers"}"#, 201),
            ("PUT /queues/%2F/q {}", 201),
        ],
    );
    for (body, expected) in [
        (json!({}), Some("q/~")),
        (json!({"routing_key": "a.b"}), Some("q/a.b")),
        (
            json!({"routing_key": "ä /~"}),
            Some("q/%25C3%25A4%2B%252F%257E"),
        ),
        (
            json!({"routing_key": "k", "arguments": {"b": 1, "a": "c"}}),
            None,
        ),
    ] {
        let reply = http.post("/bindings/%2F/e/x/q/q", &body);
        assert_eq!(reply.status, 201);
        let location = reply.header("location").unwrap().to_owned();
        if let Some(expected) = expected {
            assert_eq!(location, expected);
        }
        let delete = format!("DELETE /bindings/%2F/e/x/q/{location}");
        expect(&http, &[(&delete, 204), (&delete, 404)]);
    }
}

#[test]
fn exchanges_are_bound_to_exchanges() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            (
                r#"POST /bindings/%2F/e/amq.topic/e/amq.fanout {"routing_key":"k"}"#,
                201,
            ),
            ("DELETE /bindings/%2F/e/amq.topic/e/amq.fanout/k", 204),
        ],
    );
    refuse(
        &http,
        &[
            (
                r#"POST /bindings/%2F/e/amq.topic/q/none {"routing_key":"k"}"#,
                404,
                "no queue 'none' in vhost '/'",
            ),
            (
                r#"POST /bindings/%2F/e/none/e/amq.topic {"routing_key":"k"}"#,
                404,
                "no exchange 'none' in vhost '/'",
            ),
            (
                r#"POST /bindings/%2F/e/amq.default/e/amq.topic {"routing_key":"k"}"#,
                401,
                "Access refused.",
            ),
        ],
    );
}

#[test]
fn permissions_are_those_of_amqp() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_vhost("other");
    for tag in ["management", "monitoring"] {
        let body = json!({"tags": tag, "password": "u"});
        http.put("/users/u", &body);
        broker.permit("u", "/", ["^u", "^u", "^u"]);
        let user = http.user("u", "u");
        expect(
            &user,
            &[
                ("PUT /queues/%2F/u1 {}", 201),
                ("DELETE /queues/%2F/u1/contents", 204),
                ("DELETE /queues/%2F/u1", 204),
            ],
        );
        let nowhere = "User not authorised to access virtual host";
        refuse(
            &user,
            &[
                ("PUT /queues/%2F/v1 {}", 401, "Access refused."),
                ("PUT /exchanges/%2F/v1 {}", 401, "Access refused."),
                ("PUT /queues/other/u1 {}", 401, nowhere),
                ("DELETE /exchanges/other/amq.topic", 401, nowhere),
            ],
        );
    }
}

#[test]
fn what_is_answered_can_be_used_over_amqp() {
    let broker = TestBroker::with_management();
    assert_eq!(ask(&broker.http(), "PUT /queues/%2F/q {}").status, 201);
    let mut client = broker.connect();
    client.publish("", "q", b"hello");
    let wish =
        r#"POST /queues/%2F/q/get {"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
    assert_eq!(client.counts("q"), (1, 0));
    let messages = ask(&broker.http(), wish).json();
    assert_eq!(messages[0]["payload"], "hello");
}
