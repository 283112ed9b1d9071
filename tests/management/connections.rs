//! Connections and channels as they are shown, and closed.

use serde_json::json;

use crate::support::{TestBroker, eventually};

#[test]
fn a_connection_shows_who_it_is_and_what_went_over_it() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    let local = client.stream.local_addr().unwrap();
    let shown = broker.http().get("/connections")[0].clone();
    assert_eq!(shown["name"], format!("{local} -> {}", broker.address()));
    assert_eq!(shown["peer_host"], "127.0.0.1");
    assert_eq!(shown["peer_port"], local.port());
    assert_eq!(shown["port"], broker.address().port());
    assert_eq!([&shown["user"], &shown["vhost"]], ["guest", "/"]);
    assert_eq!([&shown["state"], &shown["type"]], ["running", "network"]);
    assert_eq!(shown["auth_mechanism"], "PLAIN");
    assert_eq!(shown["protocol"], "AMQP 0-9-1");
    assert_eq!(shown["channels"], 1);
    assert_eq!(
        [
            &shown["channel_max"],
            &shown["frame_max"],
            &shown["timeout"]
        ],
        [2047, 131_072, 0]
    );
    assert_eq!(
        shown["client_properties"]["capabilities"]["basic.nack"],
        true
    );
    assert!(shown["recv_oct"].as_u64().unwrap() > 100);
    assert!(shown["send_oct"].as_u64().unwrap() > 100);
    assert!(shown["recv_cnt"].as_u64().unwrap() > 1);
    assert!(shown["send_cnt"].as_u64().unwrap() > 1);
    assert!(shown["connected_at"].as_u64().unwrap() > 1_600_000_000_000);
    let name = shown["name"].as_str().unwrap().replace(' ', "%20");
    let one = broker.http().get(&format!("/connections/{name}"));
    assert_eq!(one["name"], shown["name"]);
    let of_user = broker.http().get("/connections/username/guest");
    let expected = json!([{
        "name": shown["name"], "vhost": "/", "user": "guest", "node": "rabbit@localhost",
    }]);
    assert_eq!(of_user, expected);
    assert_eq!(broker.http().get_refusal("/connections/nope").0, 404);
    let sessions = broker.http().get(&format!("/connections/{name}/sessions"));
    assert_eq!(sessions, json!([]));
}

#[test]
fn a_blocked_publisher_shows_as_blocked_and_others_as_blocking() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    broker.block("low on memory");
    let state = || broker.http().get("/connections")[0]["state"].clone();
    eventually("blocking", || state() == "blocking");
    client.publish("", "q", "1");
    client.expect_on(0, "connection.blocked");
    assert_eq!(state(), "blocked");
    broker.unblock();
    client.expect_on(0, "connection.unblocked");
    assert_eq!(state(), "running");
}

#[test]
fn a_connection_is_closed_with_the_reason_given() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    let http = broker.http();
    let name = http.get("/connections")[0]["name"]
        .as_str()
        .unwrap()
        .replace(' ', "%20");
    let path = format!("/connections/{name}");
    let reply = http.request("DELETE", &path, &[("x-reason", "because")], None);
    assert_eq!(reply.status, 204);
    client.expect_connection_close(320, "CONNECTION_FORCED - because");
    assert_eq!(http.delete(&path).status, 404);
}

#[test]
fn all_connections_of_a_user_are_closed_and_no_others() {
    let broker = TestBroker::with_management();
    broker.add_user("bob");
    broker.permit("bob", "/", [".*"; 3]);
    let mut clients = [broker.connect_as("bob", "/"), broker.connect_as("bob", "/")];
    let mut guest = broker.connect();
    assert_eq!(
        broker.http().delete("/connections/username/bob").status,
        204
    );
    let text = "CONNECTION_FORCED - Closed via management plugin";
    for client in &mut clients {
        client.expect_connection_close(320, text);
    }
    guest.expect_nothing();
}

#[test]
fn a_channel_shows_its_mode_and_what_it_owes() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.confirm();
    client.prefetch(7, false);
    client.prefetch(9, true);
    client.publish("", "q", "1");
    client.publish("", "nobody", "2");
    client.expect_confirms_up_to(2);
    client.consume("q", "tag");
    client.expect_delivery();
    client.open_channel(2);
    client.transact();
    client.publish("", "q", "3");
    client.declare_queue("settled");
    let channels = broker.http().get("/channels");
    let (first, second) = (&channels[0], &channels[1]);
    let connection = first["connection_details"]["name"].as_str().unwrap();
    assert_eq!(first["name"], format!("{connection} (1)"));
    assert_eq!([&first["confirm"], &first["transactional"]], [true, false]);
    assert_eq!(
        [&second["confirm"], &second["transactional"]],
        [false, true]
    );
    assert_eq!(
        [
            &first["prefetch_count"],
            &first["global_prefetch_count"],
            &first["consumer_count"],
            &first["messages_unacknowledged"],
            &first["messages_unconfirmed"],
            &second["messages_uncommitted"],
        ],
        [7, 9, 1, 1, 0, 1]
    );
    let stats = &first["message_stats"];
    assert_eq!(
        [
            &stats["publish"],
            &stats["confirm"],
            &stats["drop_unroutable"],
            &stats["deliver"]
        ],
        [2, 2, 1, 1]
    );
    let name = first["name"].as_str().unwrap().replace(' ', "%20");
    let one = broker.http().get(&format!("/channels/{name}"));
    assert_eq!(one["consumer_details"][0]["consumer_tag"], "tag");
    let connection = connection.replace(' ', "%20");
    let of_connection = broker
        .http()
        .get(&format!("/connections/{connection}/channels"));
    assert_eq!(of_connection.as_array().unwrap().len(), 2);
    assert_eq!(
        broker
            .http()
            .get("/vhosts/%2F/channels")
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
