//! Messages and queues that live for a time (RabbitMQ: `x-message-ttl`, `expiration`, `x-expires`).

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Method, Properties, basic, queue};

use crate::support::{RawClient, TestBroker, died, let_pass, ms, to_queue};

/// Time is told in whole milliseconds, so that what seems to come early by one is in time.
const TICK: Duration = ms(1);

/// How long messages wait at least, in the queue `q`, until they are in the queue `dead`.
fn time_of_death(client: &mut RawClient, publish: impl FnOnce(&mut RawClient)) -> Duration {
    let published = Instant::now();
    publish(client);
    client.await_message("dead");
    published.elapsed()
}

#[test]
fn messages_expire_after_the_ttl_of_their_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-message-ttl", 200.into())]);
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    assert_eq!(client.counts("q"), (2, 0));
    client.await_count("q", 0);
    assert!(client.get("q").is_none());
}

#[test]
fn the_shorter_of_the_queues_ttl_and_the_messages_counts() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 150.into())]);
    for (expiration, least, most) in [("40", 40, 150), ("100000", 150, 100_000)] {
        let lived = time_of_death(&mut client, |client| {
            client.publish_expiring("q", expiration, "m");
        });
        assert!(lived + TICK >= ms(least), "{lived:?}");
        // On a busy machine this may come late, but not by so much.
        assert!(lived < ms(most + 10_000), "{lived:?}");
    }
}

#[test]
fn without_a_waiting_consumer_a_ttl_of_0_ends_at_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("queue", "dead", &[("x-message-ttl", 0.into())]);
    client.declare_mortal("message", "dead", &[]);
    client.publish("", "queue", "1");
    client.publish_expiring("message", "0", "2");
    for name in ["queue", "message"] {
        assert!(client.get(name).is_none());
        assert_eq!(client.counts(name), (0, 0));
    }
    for (body, queue) in [("1", "queue"), ("2", "message")] {
        let delivery = client.await_message("dead");
        assert_eq!(delivery.text(), body);
        assert_eq!(delivery.deaths(), [died(queue, "expired", 1)]);
    }
}

#[test]
fn a_waiting_consumer_gets_what_has_a_ttl_of_0() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 0.into())]);
    client.prefetch(1, false);
    client.consume("q", "c");
    client.publish_expiring("q", "0", "taken");
    let delivery = client.expect_delivery();
    assert_eq!(delivery.text(), "taken");
    assert_eq!(delivery.properties().expiration, Some(&b"0"[..]));
    // It does not wait now: it has what it asked for.
    client.publish("", "q", "expired");
    assert_eq!(client.await_message("dead").text(), "expired");
    client.ack(1);
    client.expect_nothing();
}

#[test]
fn what_is_published_with_a_ttl_of_0_is_confirmed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-message-ttl", 0.into())]);
    client.confirm();
    assert!(client.publish_confirmed("q", "m"));
    assert!(client.get("q").is_none());
}

/// RabbitMQ's classic queues look at their heads only.
#[test]
fn messages_expire_behind_others_that_do_not() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "stays");
    client.publish_expiring("q", "100000", "stays too");
    client.publish_expiring("q", "30", "goes");
    client.publish("", "q", "last");
    assert_eq!(client.await_message("dead").text(), "goes");
    assert_eq!(client.counts("q"), (3, 0));
    assert_eq!(client.drain("q"), ["stays", "stays too", "last"]);
}

#[test]
fn each_message_expires_at_its_time_and_not_before() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    let mut consumer = broker.connect();
    consumer.consume_no_ack("dead", "c");
    let mut published = Vec::new();
    for n in 0..100_u64 {
        // All in another order than they are due.
        let ttl = 50 + n * 37 % 400;
        published.push((Instant::now(), ms(ttl)));
        client.publish_expiring("q", &ttl.to_string(), n.to_string());
    }
    let mut late = Vec::new();
    for _ in 0..published.len() {
        let delivery = consumer.expect_delivery();
        let (since, ttl) = published[delivery.text().parse::<usize>().unwrap()];
        let lived = since.elapsed();
        assert!(lived + TICK >= ttl, "{lived:?} of {ttl:?}");
        late.push(lived.saturating_sub(ttl));
    }
    // Exact, but for what a busy machine does to some of them.
    late.sort();
    assert!(late[late.len() / 2] < ms(20), "{late:?}");
}

#[test]
fn what_expires_together_goes_in_its_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 100.into())]);
    for n in 0..2000 {
        client.publish("", "q", n.to_string());
    }
    client.await_count("dead", 2000);
    let expected: Vec<_> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(client.drain("dead"), expected);
}

#[test]
fn expired_messages_are_not_counted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    for n in 0..10 {
        let expiration = if n % 2 == 0 { "30" } else { "100000" };
        client.publish_expiring("q", expiration, n.to_string());
    }
    client.await_count("dead", 5);
    assert_eq!(client.counts("q"), (5, 0));
    let got = client.get_as("q", true).unwrap();
    assert_eq!((got.text(), got.message_count), ("1", 4));
    let received = client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    let Method::QueuePurgeOk(ok) = received.method() else {
        unreachable!("call checked it");
    };
    assert_eq!(ok.message_count, 4);
}

#[test]
fn a_message_that_is_out_does_not_expire() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 40.into())]);
    client.publish("", "q", "acked");
    client.get("q").unwrap();
    client.publish("", "q", "expired");
    assert_eq!(client.await_message("dead").text(), "expired");
    client.ack(1);
    client.expect_nothing();
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_message_that_comes_back_too_late_expires_at_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 40.into())]);
    client.publish("", "q", "late");
    client.get("q").unwrap();
    let_pass(ms(60));
    client.requeue(1);
    assert!(client.get("q").is_none());
    let delivery = client.await_message("dead");
    assert_eq!(delivery.text(), "late");
    assert_eq!(delivery.deaths(), [died("q", "expired", 1)]);
}

#[test]
fn a_message_that_comes_back_in_time_lives_on_to_its_old_end() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 200.into())]);
    let published = Instant::now();
    client.publish("", "q", "m");
    client.get("q").unwrap();
    let_pass(ms(100));
    client.requeue(1);
    client.await_message("dead");
    let lived = published.elapsed();
    assert!(lived + TICK >= ms(200), "{lived:?}");
    // A second life of 200 ms would have begun after 100.
    assert!(lived < ms(290), "{lived:?}");
}

#[test]
fn the_messages_of_a_closed_channel_expire() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 40.into())]);
    let mut consumer = broker.connect();
    consumer.consume("q", "c");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    consumer.expect_bodies(2);
    let_pass(ms(60));
    consumer.close_channel();
    client.await_count("dead", 2);
    assert_eq!(client.drain("dead"), ["1", "2"]);
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn in_a_transaction_the_time_begins_with_the_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-message-ttl", 100.into())]);
    client.transact();
    client.publish("", "q", "m");
    client.settle();
    let_pass(ms(150));
    client.commit();
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn a_consumer_that_comes_late_gets_what_is_left() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    client.publish_expiring("q", "40", "expired");
    client.publish_expiring("q", "100000", "left");
    client.await_count("dead", 1);
    client.consume_no_ack("q", "c");
    assert_eq!(client.expect_delivery().text(), "left");
    client.expect_nothing();
}

#[test]
fn a_large_message_expires_as_a_small_one() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-message-ttl", 40.into())]);
    let body = vec![b'x'; 1 << 20];
    client.publish("", "q", &body);
    assert!(client.await_message("dead").body == body);
}

#[test]
fn many_messages_with_as_many_times_all_expire() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    for n in 0..20_000 {
        let expiration = (n * 7919 % 1000).to_string();
        client.publish_expiring("q", &expiration, "m");
    }
    client.publish("", "q", "left");
    client.await_count("dead", 20_000);
    assert_eq!(client.drain("q"), ["left"]);
}

fn declare_passively(client: &mut RawClient, name: &str) {
    client.call(queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..Default::default()
    });
}

const LEASE_MS: i32 = 150;

#[test]
fn a_queue_that_nobody_uses_expires() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let declared = Instant::now();
    client.declare_mortal("q", "dead", &[("x-expires", LEASE_MS.into())]);
    client.publish("", "q", "lost");
    client.await_gone("q");
    assert!(declared.elapsed() + TICK >= ms(LEASE_MS as u64));
    let get = basic::Get {
        queue: b"q",
        ..Default::default()
    };
    client.expect_refusal(get, 404, "NOT_FOUND - no queue 'q' in vhost '/'");
    // It is gone with its messages, as a deleted queue is.
    assert_eq!(client.counts("dead"), (0, 0));
}

/// Uses the queue `q` again and again, for longer than its lease.
fn keep_in_use(with: impl Fn(&mut RawClient)) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let lease = [("x-expires", LEASE_MS.into())];
    client.declare_with("q", &lease);
    client.declare_with("unused", &lease);
    let began = Instant::now();
    while began.elapsed() < ms(3 * LEASE_MS as u64) {
        with(&mut client);
        let_pass(ms(10));
    }
    assert!(client.has_queue("q"));
    assert!(!client.has_queue("unused"));
    client.await_gone("q");
}

#[test]
fn getting_renews_the_lease_of_a_queue() {
    keep_in_use(|client| assert!(client.get("q").is_none()));
}

#[test]
fn declaring_it_again_renews_the_lease_of_a_queue() {
    keep_in_use(|client| client.declare_with("q", &[("x-expires", LEASE_MS.into())]));
}

#[test]
fn declaring_it_passively_renews_the_lease_of_a_queue() {
    keep_in_use(|client| declare_passively(client, "q"));
}

#[test]
fn consuming_renews_the_lease_of_a_queue() {
    keep_in_use(|client| {
        client.consume("q", "c");
        client.cancel("c");
    });
}

#[test]
fn a_queue_with_a_consumer_does_not_expire() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let lease = [("x-expires", LEASE_MS.into())];
    client.declare_with("q", &lease);
    let mut consumer = broker.connect();
    consumer.consume_no_ack("q", "c");
    client.declare_with("unused", &lease);
    client.await_gone("unused");
    let_pass(ms(LEASE_MS as u64));
    client.publish("", "q", "still there");
    assert_eq!(consumer.expect_delivery().text(), "still there");
    let cancelled = Instant::now();
    consumer.cancel("c");
    client.await_gone("q");
    assert!(cancelled.elapsed() + TICK >= ms(LEASE_MS as u64));
}

#[test]
fn publishing_does_not_renew_the_lease_of_a_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-expires", LEASE_MS.into())]);
    let began = Instant::now();
    while client.has_queue("q") {
        assert!(began.elapsed() < ms(20_000), "it does not go");
        let_pass(ms(10));
    }
    assert!(began.elapsed() + TICK >= ms(LEASE_MS as u64 / 2));
}

#[test]
fn an_expired_queue_takes_its_bindings_along_and_can_be_declared_anew() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-expires", LEASE_MS.into())]);
    client.bind_queue("q", "amq.direct", "k");
    client.await_gone("q");
    client.publish_mandatory("amq.direct", "k", "m");
    assert_eq!(client.expect_return().code, 312);
    client.declare_queue("q");
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_message_with_all_its_properties_survives_its_expiry() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[]);
    let properties = Properties {
        content_type: Some(b"text/plain"),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: Some(b"id"),
        reply_to: Some(b"answers"),
        message_id: Some(b"m"),
        timestamp: Some(7),
        kind: Some(b"t"),
        app_id: Some(b"a"),
        ..Properties::default()
    };
    let with_expiration = Properties {
        expiration: Some(b"30"),
        ..properties
    };
    client.publish_with("", "q", &with_expiration, "m");
    let delivery = client.await_message("dead");
    let got = delivery.properties();
    assert!(got.headers.is_some());
    assert_eq!(
        Properties {
            headers: None,
            ..got
        },
        properties
    );
    let death = delivery.death_tables()[0];
    let original = death.get("original-expiration").unwrap();
    assert_eq!(original.as_str(), Some("30"));
}

#[test]
fn expired_messages_go_where_the_queue_says_now() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &to_queue("dead"));
    client.publish_expiring("q", "50", "found");
    // The queue for dead letters comes in time.
    client.declare_queue("dead");
    assert_eq!(client.await_message("dead").text(), "found");
}
