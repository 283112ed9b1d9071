//! Who sees what (RabbitMQ: user tags).

use serde_json::Value;

use crate::support::{HttpClient, TestBroker};

/// Two virtual hosts with a queue and a connection each; `bob` is at home in the second.
fn two_worlds() -> (TestBroker, Vec<crate::support::RawClient>) {
    let broker = TestBroker::with_management();
    broker.add_vhost("v");
    broker.add_user("bob");
    broker.permit("bob", "v", [".*"; 3]);
    broker.permit("guest", "v", [".*"; 3]);
    let mut clients = vec![broker.connect(), broker.connect_as("bob", "v")];
    clients[0].declare_queue("guests");
    clients[1].declare_queue("bobs");
    (broker, clients)
}

fn names(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|it| it[member].as_str().unwrap().to_owned())
        .collect()
}

fn bob(broker: &TestBroker, tag: &str) -> HttpClient {
    broker.tag("bob", &[tag]);
    broker.http().user("bob", "bob")
}

#[test]
fn management_users_see_their_virtual_hosts_and_their_own_connections() {
    let (broker, _clients) = two_worlds();
    let http = bob(&broker, "management");
    assert_eq!(names(&http.get("/queues"), "name"), ["bobs"]);
    assert_eq!(names(&http.get("/connections"), "user"), ["bob"]);
    assert_eq!(names(&http.get("/channels"), "user"), ["bob"]);
    assert_eq!(names(&http.get("/bindings"), "routing_key"), ["bobs"]);
    assert_eq!(http.get_refusal("/queues/%2F").0, 401);
    assert_eq!(http.get_refusal("/queues/%2F/guests").0, 401);
    let totals = &http.get("/overview")["object_totals"];
    assert_eq!(totals["queues"], 1);
    let refusal = http.get_refusal("/nodes");
    assert_eq!(refusal, (401, "Not monitor user".to_owned()));
}

#[test]
fn monitoring_users_see_everything() {
    let (broker, _clients) = two_worlds();
    let http = bob(&broker, "monitoring");
    assert_eq!(names(&http.get("/queues"), "name"), ["guests", "bobs"]);
    assert_eq!(http.get("/connections").as_array().unwrap().len(), 2);
    assert_eq!(http.get("/overview")["object_totals"]["queues"], 2);
    assert_eq!(http.get("/nodes").as_array().unwrap().len(), 1);
}

#[test]
fn only_administrators_close_connections_of_others() {
    let (broker, mut clients) = two_worlds();
    let http = bob(&broker, "monitoring");
    let guest = http.get("/connections/username/bob")[0]["name"].clone();
    assert!(guest.is_string());
    assert_eq!(http.delete("/connections/username/guest").status, 401);
    let all = http.get("/connections");
    let guests = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["user"] == "guest");
    let name = guests.unwrap()["name"]
        .as_str()
        .unwrap()
        .replace(' ', "%20");
    assert_eq!(http.delete(&format!("/connections/{name}")).status, 401);
    clients[0].expect_nothing();
    assert_eq!(http.delete("/connections/username/bob").status, 204);
    let text = "CONNECTION_FORCED - Closed via management plugin";
    clients[1].expect_connection_close(320, text);
}
