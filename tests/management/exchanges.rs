//! Exchanges as they are shown.

use serde_json::json;

use crate::support::TestBroker;

#[test]
fn an_exchange_shows_what_came_and_what_went() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_exchange("x", "fanout");
    for queue in ["a", "b"] {
        client.declare_queue(queue);
        client.bind_queue(queue, "x", "");
    }
    client.publish("x", "", "1");
    client.await_count("b", 1);
    let shown = broker.http().get("/exchanges/%2F/x");
    assert_eq!(shown["type"], "fanout");
    assert_eq!([&shown["durable"], &shown["internal"]], [false, false]);
    assert_eq!(shown["message_stats"]["publish_in"], 1);
    assert_eq!(shown["message_stats"]["publish_out"], 2);
    assert_eq!(
        [&shown["incoming"], &shown["outgoing"]],
        [&json!([]), &json!([])]
    );
}

#[test]
fn the_default_exchange_goes_by_amq_default() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let shown = http.get("/exchanges/%2F/amq.default");
    assert_eq!([&shown["name"], &shown["type"]], ["", "direct"]);
    assert_eq!(shown["user_who_performed_action"], "rmq-internal");
    let all = http.get("/exchanges/%2F");
    let names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    let expected = [
        "",
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
        "amq.topic",
    ];
    assert_eq!(names, expected);
    assert_eq!(http.get_refusal("/exchanges/%2F/nope").0, 404);
}
