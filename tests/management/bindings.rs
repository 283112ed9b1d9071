//! Bindings in all the ways in which they can be asked for.

use serde_json::{Value, json};

use leveret::wire::amqp::queue;

use crate::support::{RawClient, TestBroker, table};

fn bind_with(client: &mut RawClient, routing_key: &str, arguments: &crate::support::Arguments<'_>) {
    client.call(queue::Bind {
        queue: b"q",
        exchange: b"x",
        routing_key: routing_key.as_bytes(),
        arguments: table(arguments).view(),
        ..Default::default()
    });
}

fn keys(bindings: &Value) -> Vec<&str> {
    let all = bindings.as_array().unwrap().iter();
    all.map(|it| it["properties_key"].as_str().unwrap())
        .collect()
}

#[test]
fn bindings_have_the_keys_that_rabbitmq_gives_them() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_exchange("x", "headers");
    client.declare_queue("q");
    bind_with(&mut client, "", &[]);
    bind_with(&mut client, "", &[("foo", true.into())]);
    bind_with(&mut client, "a/b c~", &[]);
    let http = broker.http();
    let all = http.get("/bindings/%2F/e/x/q/q");
    assert_eq!(keys(&all), ["~", "~0PLoLg", "a%2Fb+c%7E"]);
    let one = http.get("/bindings/%2F/e/x/q/q/~0PLoLg");
    let expected = json!({
        "source": "x", "vhost": "/", "destination": "q", "destination_type": "queue",
        "routing_key": "", "arguments": {"foo": true}, "properties_key": "~0PLoLg",
    });
    assert_eq!(one, expected);
    for key in ["a%2Fb+c%7E", "a%252Fb+c%257E"] {
        let one = http.get(&format!("/bindings/%2F/e/x/q/q/{key}"));
        assert_eq!(one["routing_key"], "a/b c~");
    }
    assert_eq!(http.get_refusal("/bindings/%2F/e/x/q/q/nope").0, 404);
}

#[test]
fn those_of_the_default_exchange_are_shown_with_the_others() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_exchange("x", "direct");
    client.declare_exchange("y", "fanout");
    client.declare_queue("q");
    client.bind_queue("q", "x", "k");
    client.bind_exchange("y", "x", "ee");
    let http = broker.http();
    assert_eq!(keys(&http.get("/queues/%2F/q/bindings")), ["q", "k"]);
    assert_eq!(keys(&http.get("/bindings")), ["q", "k", "ee"]);
    assert_eq!(keys(&http.get("/bindings/%2F")), ["q", "k", "ee"]);
    let of_x = http.get("/exchanges/%2F/x/bindings/source");
    assert_eq!(keys(&of_x), ["k", "ee"]);
    let to_y = http.get("/exchanges/%2F/y/bindings/destination");
    assert_eq!(to_y[0]["destination_type"], "exchange");
    assert_eq!(keys(&http.get("/bindings/%2F/e/x/e/y")), ["ee"]);
    let of_default = http.get("/exchanges/%2F/amq.default/bindings/source");
    assert_eq!(keys(&of_default), ["q"]);
    assert_eq!(keys(&http.get("/bindings/%2F/e/amq.default/q/q")), ["q"]);
}

#[test]
fn between_what_is_not_there_there_are_none() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for path in [
        "/bindings/%2F/e/no/q/no",
        "/bindings/%2F/e/amq.direct/e/no",
        "/queues/%2F/no/bindings",
        "/exchanges/%2F/no/bindings/source",
    ] {
        assert_eq!(http.get(path), json!([]), "{path}");
    }
    for path in ["/bindings/no", "/queues/no/no/bindings"] {
        assert_eq!(http.get_refusal(path).0, 404, "{path}");
    }
}

#[test]
fn a_list_in_many_pieces_misses_nothing() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_exchange("x", "direct");
    client.declare_queue("q");
    for number in 0..1_700 {
        client.send(&queue::Bind {
            queue: b"q",
            exchange: b"x",
            routing_key: format!("{number:05}").as_bytes(),
            no_wait: true,
            ..Default::default()
        });
    }
    client.declare_queue("last");
    let http = broker.http();
    let numbered: Vec<String> = (0..1_700).map(|number| format!("{number:05}")).collect();
    assert_eq!(keys(&http.get("/bindings/%2F/e/x/q/q")), numbered);
    assert_eq!(http.get("/bindings").as_array().unwrap().len(), 1_702);
}
