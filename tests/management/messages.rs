//! Publishing and getting by hand.

use serde_json::{Value, json};

use crate::asking::{ask, expect, refuse};
use crate::support::{HttpClient, TestBroker};

#[track_caller]
fn publish(http: &HttpClient, routing_key: &str, properties: Value, payload: &str) -> Value {
    let body = json!({
        "routing_key": routing_key, "properties": properties, "payload": payload,
        "payload_encoding": "string",
    });
    let reply = http.post("/exchanges/%2F/amq.default/publish", &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["routed"].clone()
}

#[track_caller]
fn get(http: &HttpClient, wish: Value) -> Vec<Value> {
    let reply = http.post("/queues/%2F/q/get", &wish);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json().as_array().unwrap().clone()
}

fn with_queue() -> (TestBroker, HttpClient) {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(&http, &[("PUT /queues/%2F/q {}", 201)]);
    (broker, http)
}

#[test]
fn a_message_comes_back_as_it_was_published() {
    let (_broker, http) = with_queue();
    let properties = json!({
        "delivery_mode": 2, "priority": 3, "timestamp": 5, "content_type": "t",
        "content_encoding": "e", "type": "k", "app_id": "a", "cluster_id": "c",
        "message_id": "m", "correlation_id": "co", "reply_to": "r", "expiration": "100000",
        "user_id": "guest",
        "headers": {"a": 1, "b": "x", "c": [1, {"d": 1.5}], "f": true},
    });
    assert_eq!(publish(&http, "q", properties.clone(), "hello"), true);
    assert_eq!(publish(&http, "nowhere", json!({}), "hello"), false);
    let wish = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    let got = get(&http, wish);
    let expected = json!([{
        "payload_bytes": 5, "redelivered": false, "exchange": "", "routing_key": "q",
        "message_count": 0, "properties": properties, "payload": "hello",
        "payload_encoding": "string",
    }]);
    assert_eq!(json!(got), expected);
}

#[test]
fn messages_that_are_put_back_are_redelivered_in_their_order() {
    let (_broker, http) = with_queue();
    for payload in ["one", "two", "three"] {
        publish(&http, "q", json!({}), payload);
    }
    for (mode, redelivered) in [("ack_requeue_true", false), ("reject_requeue_true", true)] {
        let got = get(
            &http,
            json!({"count": 2, "ackmode": mode, "encoding": "auto"}),
        );
        let payloads: Vec<_> = got.iter().map(|m| m["payload"].clone()).collect();
        assert_eq!(payloads, ["one", "two"]);
        assert_eq!(got[0]["redelivered"], redelivered);
        assert_eq!(got[0]["message_count"], 2);
        assert_eq!(got[0]["properties"], json!([]));
    }
    let old = json!({"count": "2", "requeue": false, "encoding": "auto"});
    assert_eq!(get(&http, old).len(), 2);
    let gone = json!({"count": 9, "ackmode": "reject_requeue_false", "encoding": "auto"});
    assert_eq!(get(&http, gone.clone())[0]["payload"], "three");
    assert!(get(&http, gone).is_empty());
}

#[test]
fn many_messages_are_got_in_many_pieces() {
    let (broker, http) = with_queue();
    let mut client = broker.connect();
    for number in 0..1200 {
        client.publish("", "q", format!("{number}").as_bytes());
    }
    assert_eq!(client.counts("q").0, 1200);
    let wish = json!({"count": 5000, "ackmode": "ack_requeue_false", "encoding": "auto"});
    let got = get(&http, wish);
    assert_eq!(got.len(), 1200);
    assert_eq!(got[1199]["payload"], "1199");
}

#[test]
fn what_is_no_text_is_shown_as_base64() {
    let (_broker, http) = with_queue();
    let body = json!({
        "routing_key": "q", "properties": {}, "payload": "/wA=", "payload_encoding": "base64",
    });
    let reply = http.post("/exchanges/%2F/amq.default/publish", &body);
    assert_eq!(reply.json(), json!({"routed": true}));
    publish(&http, "q", json!({}), "text");
    let wish = json!({"count": 2, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let got = get(&http, wish);
    assert_eq!(
        (&got[0]["payload"], &got[0]["payload_encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
    assert_eq!(got[1]["payload"], "text");
    let wish =
        json!({"count": 2, "ackmode": "ack_requeue_true", "encoding": "base64", "truncate": 2});
    let got = get(&http, wish);
    assert_eq!(
        (&got[1]["payload"], &got[1]["payload_bytes"]),
        (&json!("dGU="), &json!(4))
    );
}

#[test]
fn what_makes_no_message_is_refused_in_rabbitmqs_words() {
    let (_broker, http) = with_queue();
    refuse(
        &http,
        &[
            (
                r#"POST /exchanges/%2F/amq.default/publish {"properties":{}}"#,
                400,
                "[{key_missing,routing_key},\n {key_missing,payload},\n {key_missing,payload_encoding}]",
            ),
            (
                r#"POST /exchanges/%2F/x/publish {"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}"#,
                400,
                "404 NOT_FOUND - no exchange 'x' in vhost '/'",
            ),
            (
                r#"POST /exchanges/%2F/amq.default/publish {"properties":{"user_id":"x"},"routing_key":"q","payload":"","payload_encoding":"string"}"#,
                400,
                "406 PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'guest'",
            ),
            (
                r#"POST /exchanges/%2F/amq.default/publish {"properties":{"priority":"x"},"routing_key":"q","payload":"","payload_encoding":"string"}"#,
                400,
                r#"["not_int","priority"]"#,
            ),
            (
                r#"POST /exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"q","payload":"*","payload_encoding":"base64"}"#,
                400,
                r#"["not_base64","*"]"#,
            ),
            (
                r#"POST /queues/%2F/none/get {"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
                404,
                "NOT_FOUND - no queue 'none' in vhost '/'",
            ),
            (
                r#"POST /queues/%2F/q/get {"count":1,"encoding":"auto"}"#,
                400,
                "[{key_missing,ackmode}]",
            ),
        ],
    );
}

#[test]
fn publishing_and_getting_need_the_permissions_of_amqp() {
    let (broker, http) = with_queue();
    let body = json!({"tags": "administrator", "password": "u"});
    assert_eq!(http.put("/users/u", &body).status, 201);
    broker.permit("u", "/", ["^u", "^u", "^u"]);
    refuse(
        &http.user("u", "u"),
        &[
            (
                r#"POST /exchanges/%2F/amq.topic/publish {"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}"#,
                400,
                "403 ACCESS_REFUSED - write access to exchange 'amq.topic' in vhost '/' refused for user 'u'",
            ),
            (
                r#"POST /queues/%2F/q/get {"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
                401,
                "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'u'",
            ),
        ],
    );
}

#[test]
fn blocked_publishers_are_told_so() {
    let (broker, http) = with_queue();
    broker.block("low on test");
    let publish = r#"POST /exchanges/%2F/amq.default/publish {"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}"#;
    refuse(
        &http,
        &[(publish, 503, "publishers are blocked: low on test")],
    );
    let alarms = ask(&http, "GET /health/checks/alarms");
    assert_eq!(alarms.status, 503);
    assert_eq!(alarms.json()["status"], "failed");
    broker.unblock();
    expect(&http, &[(publish, 200), ("GET /health/checks/alarms", 200)]);
}
