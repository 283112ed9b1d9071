//! Messages that die in a queue and go on from there (RabbitMQ: dead letter exchanges).

use leveret::wire::amqp::{
    ArrayBuilder, Properties, TableBuilder, Value, basic, exchange, exchange::Delete, queue,
};

use crate::support::{RawClient, TestBroker, died, let_pass, ms, to_queue};

fn dead_letter_exchange(name: &str) -> [(&str, Value<'_>); 1] {
    [("x-dead-letter-exchange", Value::string(name))]
}

#[test]
fn a_rejected_message_goes_to_the_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "rejected");
    client.publish("", "q", "nacked");
    let tag = client.await_unacked("q").delivery_tag;
    client.reject(tag);
    let tag = client.await_unacked("q").delivery_tag;
    client.nack(tag, false, false);
    for body in ["rejected", "nacked"] {
        let delivery = client.await_message("dead");
        assert_eq!(delivery.text(), body);
        assert_eq!((&*delivery.exchange, &*delivery.routing_key), ("", "dead"));
        assert!(!delivery.redelivered);
        assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    }
}

#[test]
fn a_nack_of_several_sends_them_on_in_their_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    for n in 0..100 {
        client.publish("", "q", n.to_string());
    }
    for _ in 0..100 {
        client.await_unacked("q");
    }
    client.ack(50);
    client.nack(90, true, false);
    client.await_count("dead", 89);
    let expected: Vec<_> = (0..90)
        .filter(|n| *n != 49)
        .map(|n| n.to_string())
        .collect();
    assert_eq!(client.drain("dead"), expected);
    client.close_channel();
    client.open_channel(1);
    client.await_count("q", 10);
}

#[test]
fn a_death_is_described_as_rabbitmq_does() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("dead");
    client.bind_queue("dead", "amq.fanout", "");
    client.declare_with("q", &dead_letter_exchange("amq.fanout"));
    client.bind_queue("q", "amq.direct", "k");
    let mut own = TableBuilder::new();
    own.put("own", 1);
    let properties = Properties {
        headers: Some(own.view()),
        expiration: Some(b"60000"),
        ..Properties::default()
    };
    client.publish_with("amq.direct", "k", &properties, "m");
    client.reject_next("q");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.exchange, "amq.fanout");
    assert_eq!(delivery.routing_key, "k");
    assert_eq!(delivery.properties().expiration, None);
    assert_eq!(delivery.header("own"), Some(Value::SignedInt(1)));

    let deaths = delivery.death_tables();
    assert_eq!(deaths.len(), 1);
    let names: Vec<_> = deaths[0].iter().map(|(name, _)| name).collect();
    let expected: [&[u8]; 7] = [
        b"count",
        b"reason",
        b"queue",
        b"time",
        b"exchange",
        b"routing-keys",
        b"original-expiration",
    ];
    assert_eq!(names, expected);
    let mut keys = ArrayBuilder::new();
    keys.push("k");
    let get = |name: &str| deaths[0].get(name).unwrap();
    assert_eq!(get("count"), Value::Long(1));
    assert_eq!(get("reason"), Value::string("rejected"));
    assert_eq!(get("queue"), Value::string("q"));
    assert_eq!(get("exchange"), Value::string("amq.direct"));
    assert_eq!(get("routing-keys"), Value::Array(keys.view()));
    assert_eq!(get("original-expiration"), Value::string("60000"));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(matches!(get("time"), Value::Timestamp(time) if time + 60 > now && time <= now));
    for (name, value) in [
        ("x-first-death-reason", "rejected"),
        ("x-first-death-queue", "q"),
        ("x-first-death-exchange", "amq.direct"),
    ] {
        assert_eq!(delivery.text_header(name), Some(value));
    }
}

/// RabbitMQ has these since 3.13.
#[test]
fn the_last_death_is_described_beside_the_first() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("first", "second", &[]);
    client.call(queue::Delete {
        queue: b"second",
        ..Default::default()
    });
    client.declare_mortal("second", "dead", &[("x-message-ttl", 20.into())]);
    client.publish("", "first", "m");
    client.reject_next("first");
    let delivery = client.await_message("dead");
    for (name, value) in [
        ("x-first-death-reason", "rejected"),
        ("x-first-death-queue", "first"),
        ("x-first-death-exchange", ""),
        ("x-last-death-reason", "expired"),
        ("x-last-death-queue", "second"),
        ("x-last-death-exchange", ""),
    ] {
        assert_eq!(delivery.text_header(name), Some(value), "{name}");
    }
}

#[test]
fn each_way_to_die_has_its_reason() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("expired", "dead", &[("x-message-ttl", 0.into())]);
    client.declare_mortal("maxlen", "dead", &[("x-max-length", 1.into())]);
    client.declare_mortal("rejected", "dead", &[]);
    client.publish("", "expired", "m");
    assert_eq!(
        client.await_message("dead").deaths(),
        [died("expired", "expired", 1)]
    );
    client.publish("", "maxlen", "old");
    client.publish("", "maxlen", "new");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.text(), "old");
    assert_eq!(delivery.deaths(), [died("maxlen", "maxlen", 1)]);
    client.publish("", "rejected", "m");
    client.reject_next("rejected");
    assert_eq!(
        client.await_message("dead").deaths(),
        [died("rejected", "rejected", 1)]
    );
}

#[test]
fn without_its_exchange_a_dead_letter_is_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange("later"));
    client.publish("", "q", "dropped");
    client.reject_next("q");
    client.settle();
    assert_eq!(client.counts("q"), (0, 0));
    // The exchange is looked for when a message dies.
    client.declare_exchange("later", "fanout");
    client.declare_queue("dead");
    client.bind_queue("dead", "later", "");
    client.publish("", "q", "kept");
    client.reject_next("q");
    assert_eq!(client.await_message("dead").text(), "kept");
    client.call(Delete {
        exchange: b"later",
        ..Default::default()
    });
    client.publish("", "q", "dropped");
    client.reject_next("q");
    client.settle();
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_dead_letter_without_a_way_is_dropped_unless_there_is_an_alternate() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange("amq.direct"));
    client.publish("", "q", "dropped");
    client.reject_next("q");
    client.settle();
    assert_eq!(client.counts("q"), (0, 0));

    let mut arguments = TableBuilder::new();
    arguments.put("alternate-exchange", "amq.fanout");
    client.call(exchange::Declare {
        exchange: b"x",
        kind: b"direct",
        arguments: arguments.view(),
        ..Default::default()
    });
    client.declare_queue("alternate");
    client.bind_queue("alternate", "amq.fanout", "");
    client.declare_with("p", &dead_letter_exchange("x"));
    client.publish("", "p", "kept");
    client.reject_next("p");
    assert_eq!(client.await_message("alternate").text(), "kept");
}

#[test]
fn an_internal_exchange_may_get_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(exchange::Declare {
        exchange: b"x",
        kind: b"fanout",
        internal: true,
        ..Default::default()
    });
    client.declare_queue("dead");
    client.bind_queue("dead", "x", "");
    client.declare_with("q", &dead_letter_exchange("x"));
    client.publish("", "q", "m");
    client.reject_next("q");
    assert_eq!(client.await_message("dead").exchange, "x");
}

#[test]
fn one_death_may_reach_several_queues() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange("amq.fanout"));
    for name in ["a", "b", "c"] {
        client.declare_queue(name);
        client.bind_queue(name, "amq.fanout", "");
    }
    client.publish("", "q", "m");
    client.reject_next("q");
    for name in ["a", "b", "c"] {
        let delivery = client.await_message(name);
        assert_eq!(delivery.text(), "m");
        assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    }
}

/// Publishes with a CC header, or BCC.
fn publish_copied(client: &mut RawClient, queue: &str, header: &str, key: &str) {
    let mut keys = ArrayBuilder::new();
    keys.push(key);
    let mut headers = TableBuilder::new();
    headers.put_array(header, &keys);
    client.publish_headers(queue, headers.view(), "m");
}

#[test]
fn without_a_dead_letter_routing_key_a_message_keeps_its_keys() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange("amq.direct"));
    for name in ["own", "copied"] {
        client.declare_queue(name);
    }
    client.bind_queue("own", "amq.direct", "q");
    client.bind_queue("copied", "amq.direct", "cc");
    publish_copied(&mut client, "q", "CC", "cc");
    client.reject_next("q");
    let mut keys = ArrayBuilder::new();
    keys.push("q").push("cc");
    for name in ["own", "copied"] {
        let delivery = client.await_message(name);
        assert_eq!(delivery.routing_key, "q");
        let death = delivery.death_tables()[0];
        assert_eq!(death.get("routing-keys"), Some(Value::Array(keys.view())));
        assert!(delivery.header("CC").is_some());
    }
}

#[test]
fn a_dead_letter_routing_key_takes_the_place_of_all_others() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("cc");
    client.declare_mortal("q", "dead", &[]);
    publish_copied(&mut client, "q", "CC", "cc");
    assert_eq!(client.await_message("cc").text(), "m");
    client.reject_next("q");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.header("CC"), None);
    let mut keys = ArrayBuilder::new();
    keys.push("q").push("cc");
    let death = delivery.death_tables()[0];
    assert_eq!(death.get("routing-keys"), Some(Value::Array(keys.view())));
    assert_eq!(client.counts("cc"), (0, 0));
}

#[test]
fn blind_copies_stay_secret_in_death() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    publish_copied(&mut client, "nowhere", "BCC", "q");
    client.reject_next("q");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.header("BCC"), None);
    let mut keys = ArrayBuilder::new();
    keys.push("nowhere");
    let death = delivery.death_tables()[0];
    assert_eq!(death.get("routing-keys"), Some(Value::Array(keys.view())));
}

#[test]
fn an_empty_dead_letter_routing_key_is_one() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with(
        "q",
        &[
            ("x-dead-letter-exchange", Value::string("amq.direct")),
            ("x-dead-letter-routing-key", Value::string("")),
        ],
    );
    client.declare_queue("dead");
    client.bind_queue("dead", "amq.direct", "");
    client.publish("", "q", "m");
    client.reject_next("q");
    assert_eq!(client.await_message("dead").routing_key, "");
}

#[test]
fn deaths_are_listed_with_the_newest_first() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("d");
    for (name, next) in [("a", "b"), ("b", "c"), ("c", "d")] {
        client.declare_with(name, &to_queue(next));
    }
    client.publish("", "a", "m");
    for name in ["a", "b", "c"] {
        client.reject_next(name);
    }
    let expected = ["c", "b", "a"].map(|name| died(name, "rejected", 1));
    let delivery = client.await_message("d");
    assert_eq!(delivery.deaths(), expected);
    assert_eq!(delivery.text_header("x-first-death-queue"), Some("a"));
}

/// Rejected work waits for a while in another queue and comes back, as retries are built.
#[test]
fn retries_are_counted_by_queue_and_reason() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("work", &to_queue("wait"));
    let mut arguments = to_queue("work").to_vec();
    arguments.push(("x-message-ttl", 10.into()));
    client.declare_with("wait", &arguments);
    client.publish("", "work", "m");
    for retry in 0..5 {
        let delivery = client.await_unacked("work");
        assert!(!delivery.redelivered);
        if retry > 0 {
            let expected = [
                died("wait", "expired", retry),
                died("work", "rejected", retry),
            ];
            assert_eq!(delivery.deaths(), expected);
            assert_eq!(delivery.text_header("x-first-death-queue"), Some("work"));
        }
        client.reject(delivery.delivery_tag);
    }
}

/// RabbitMQ up to 3.13.
#[test]
fn a_history_that_a_client_sends_back_is_continued() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "m");
    for count in 1..=3 {
        client.reject_next("q");
        let delivery = client.await_message("dead");
        assert_eq!(delivery.deaths(), [died("q", "rejected", count)]);
        client.publish_with("", "q", &delivery.properties(), "again");
    }
}

#[test]
fn what_is_no_history_is_replaced() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    for value in [Value::string("no"), Value::SignedInt(5), Value::Void] {
        let mut headers = TableBuilder::new();
        headers.put("x-death", value);
        client.publish_headers("q", headers.view(), "m");
        client.reject_next("q");
        let delivery = client.await_message("dead");
        assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    }
}

#[test]
fn a_message_that_expires_into_its_own_queue_is_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = dead_letter_exchange("").to_vec();
    arguments.push(("x-message-ttl", 20.into()));
    client.declare_with("q", &arguments);
    client.publish("", "q", "m");
    client.await_count("q", 0);
    let_pass(ms(50));
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_message_that_expires_in_a_circle_is_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, next) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let mut arguments = to_queue(next).to_vec();
        arguments.push(("x-message-ttl", 20.into()));
        client.declare_with(name, &arguments);
    }
    client.publish("", "a", "m");
    // Three deaths, and it is not in `a` again.
    let_pass(ms(100));
    for name in ["a", "b", "c"] {
        client.await_count(name, 0);
    }
    let_pass(ms(50));
    for name in ["a", "b", "c"] {
        assert_eq!(client.counts(name), (0, 0));
    }
}

#[test]
fn a_message_that_is_rejected_may_go_in_circles() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange(""));
    client.publish("", "q", "m");
    for count in 1..=5 {
        client.reject_next("q");
        let delivery = client.await_unacked("q");
        assert_eq!(delivery.deaths(), [died("q", "rejected", count)]);
        client.requeue(delivery.delivery_tag);
    }
}

#[test]
fn a_cycle_costs_a_message_only_the_queues_in_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = dead_letter_exchange("amq.fanout").to_vec();
    arguments.push(("x-message-ttl", 20.into()));
    client.declare_with("q", &arguments);
    client.declare_queue("dead");
    for name in ["q", "dead"] {
        client.bind_queue(name, "amq.fanout", "");
    }
    client.publish("", "q", "m");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.deaths(), [died("q", "expired", 1)]);
    let_pass(ms(50));
    assert_eq!(client.counts("q"), (0, 0));
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn purged_and_deleted_messages_are_no_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "purged");
    client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    client.publish("", "q", "deleted");
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.settle();
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn what_is_unacked_when_its_queue_is_deleted_is_no_dead_letter() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.reject(tag);
    client.expect_nothing();
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_requeued_message_is_no_dead_letter() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.requeue(tag);
    client.await_unacked("q");
    client.call(basic::Recover { requeue: true });
    client.await_unacked("q");
    client.close_channel();
    client.open_channel(1);
    assert_eq!(client.await_message("q").deaths(), []);
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_consumer_gets_dead_letters_as_they_come() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    let mut undertaker = broker.connect();
    undertaker.consume_no_ack("dead", "u");
    client.consume("q", "c");
    for n in 0..10 {
        client.publish("", "q", n.to_string());
    }
    for n in 0..10 {
        let delivery = client.expect_delivery();
        client.reject(delivery.delivery_tag);
        assert_eq!(undertaker.expect_delivery().text(), n.to_string());
    }
}

#[test]
fn rejecting_in_a_transaction_waits_for_the_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.transact();
    client.reject(tag);
    client.settle();
    assert_eq!(client.counts("dead"), (0, 0));
    client.commit();
    assert_eq!(client.await_message("dead").text(), "m");
}

#[test]
fn a_large_message_is_a_dead_letter_as_a_small_one_is() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &dead_letter_exchange("amq.fanout"));
    for name in ["a", "b"] {
        client.declare_queue(name);
        client.bind_queue(name, "amq.fanout", "");
    }
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    client.publish("", "q", &body);
    client.reject_next("q");
    for name in ["a", "b"] {
        assert!(client.await_message(name).body == body);
    }
}

#[test]
fn a_dead_letter_for_a_full_queue_that_rejects_is_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with(
        "dead",
        &[
            ("x-max-length", 1.into()),
            ("x-overflow", "reject-publish".into()),
        ],
    );
    client.declare_with("q", &to_queue("dead"));
    for body in ["1", "2"] {
        client.publish("", "q", body);
        client.reject_next("q");
        client.settle();
    }
    assert_eq!(client.counts("q"), (0, 0));
    assert_eq!(client.drain("dead"), ["1"]);
}

/// RabbitMQ has this for quorum queues only.
#[test]
fn at_least_once_a_dead_letter_waits_until_there_is_room_for_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with(
        "dead",
        &[
            ("x-max-length", 1.into()),
            ("x-overflow", "reject-publish".into()),
        ],
    );
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-dead-letter-strategy", "at-least-once".into()));
    client.declare_with("q", &arguments);
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
        client.reject_next("q");
    }
    for body in ["1", "2", "3"] {
        let delivery = client.await_message("dead");
        assert_eq!(delivery.text(), body);
        assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    }
}

#[test]
fn at_least_once_does_not_keep_what_goes_in_circles() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("dead");
    client.declare_with(
        "q",
        &[
            ("x-message-ttl", 20.into()),
            ("x-dead-letter-exchange", Value::string("amq.fanout")),
            ("x-dead-letter-strategy", "at-least-once".into()),
        ],
    );
    client.bind_queue("q", "amq.fanout", "");
    client.publish("", "q", "m");
    client.await_count("q", 0);
    client.settle();
    // Longer than a letter would wait for the next try.
    client.bind_queue("dead", "amq.fanout", "");
    let_pass(ms(1500));
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn at_least_once_a_dead_letter_waits_for_its_exchange() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with(
        "q",
        &[
            ("x-dead-letter-exchange", Value::string("later")),
            ("x-dead-letter-strategy", "at-least-once".into()),
        ],
    );
    client.publish("", "q", "m");
    client.reject_next("q");
    client.settle();
    client.declare_queue("dead");
    client.declare_exchange("later", "fanout");
    client.bind_queue("dead", "later", "");
    assert_eq!(client.await_message("dead").text(), "m");
}

#[test]
fn a_dead_letter_begins_a_new_life_in_its_new_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("end");
    let mut arguments = to_queue("end").to_vec();
    arguments.push(("x-message-ttl", 150.into()));
    client.declare_with("second", &arguments);
    let mut arguments = to_queue("second").to_vec();
    arguments.push(("x-message-ttl", 100.into()));
    client.declare_with("first", &arguments);
    let began = std::time::Instant::now();
    client.publish("", "first", "m");
    let delivery = client.await_message("end");
    assert!(began.elapsed() >= ms(248));
    let expected = [died("second", "expired", 1), died("first", "expired", 1)];
    assert_eq!(delivery.deaths(), expected);
}

#[test]
fn a_message_in_several_queues_dies_in_each_for_itself() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("a", "dead", &[]);
    client.declare_mortal("b", "dead", &[("x-message-ttl", 20.into())]);
    client.declare_queue("c");
    for name in ["a", "b", "c"] {
        client.bind_queue(name, "amq.fanout", "");
    }
    client.publish("amq.fanout", "", "m");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.deaths(), [died("b", "expired", 1)]);
    client.reject_next("a");
    let delivery = client.await_message("dead");
    assert_eq!(delivery.deaths(), [died("a", "rejected", 1)]);
    assert_eq!(client.await_message("c").deaths(), []);
}
