//! Many peers at once: each gets its turn, and none its neighbour's troubles.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use leveret::wire::amqp::properties::NO_PROPERTIES;
use leveret::wire::amqp::{frame, queue};

use crate::support::{TestBroker, eventually, publish_to};

#[test]
fn a_flood_does_not_keep_others_waiting() {
    let broker = TestBroker::start();
    let mut flood = Vec::new();
    frame::encode_method(&mut flood, 1, &publish_to("", "nowhere"));
    frame::encode_content_header(&mut flood, 1, 5, &NO_PROPERTIES);
    frame::encode_body(&mut flood, 1, b"flood");
    let flood = flood.repeat(1000);
    let flooders: Vec<_> = (0..4).map(|_| broker.connect()).collect();
    let mut polite = broker.connect();
    polite.declare_queue("q");
    thread::scope(|scope| {
        for flooder in &flooders {
            scope.spawn(|| {
                use std::io::Write;
                while (&flooder.stream).write_all(&flood).is_ok() {}
            });
        }
        let started = Instant::now();
        for n in 0..50 {
            polite.publish("", "q", n.to_string());
            assert_eq!(polite.get_as("q", true).unwrap().text(), n.to_string());
        }
        let took = started.elapsed();
        for flooder in &flooders {
            flooder.stream.shutdown(Shutdown::Both).unwrap();
        }
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
}

#[test]
fn hundreds_of_peers_come_and_go() {
    let broker = TestBroker::start();
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..200).map(|_| broker.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let name = format!("q{n}");
            client.call(queue::Declare {
                queue: name.as_bytes(),
                exclusive: true,
                ..Default::default()
            });
            client.publish("", &name, "m");
            client.consume("", "c");
        }
        for client in &mut clients {
            assert_eq!(client.expect_delivery().text(), "m");
        }
        for (n, client) in clients.into_iter().enumerate() {
            match n % 3 {
                0 => client.close(),
                1 => drop(client),
                // Closing with this sends a reset.
                _ => socket2::SockRef::from(&client.stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap(),
            }
        }
        let mut witness = broker.connect();
        eventually("the last queue is gone", || {
            witness.publish_mandatory("", "q199", "anybody there?");
            let came = witness.settle();
            came.iter().any(|received| received.is(1, "basic.return"))
        });
    }
}

#[test]
fn what_was_sent_before_the_end_is_served() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.confirm();
    for n in 0..1000 {
        client.publish("", "q", n.to_string());
    }
    client.shut_down_writing();
    client.expect_confirms_up_to(1000);
    client.expect_end();
    assert_eq!(broker.connect().counts("q"), (1000, 0));
}

#[test]
fn many_producers_and_consumers_share_a_queue_fairly_and_lose_nothing() {
    const PEERS: usize = 10;
    const EACH: usize = 200;
    let broker = TestBroker::start();
    broker.connect().declare_queue("q");
    let mut consumers: Vec<_> = (0..PEERS).map(|_| broker.connect()).collect();
    for consumer in &mut consumers {
        consumer.consume_no_ack("q", "c");
    }
    thread::scope(|scope| {
        for producer in 0..PEERS {
            let mut client = broker.connect();
            scope.spawn(move || {
                client.confirm();
                for n in 0..EACH {
                    client.publish("", "q", format!("{producer} {n}"));
                }
                client.expect_confirms_up_to(EACH as u64);
            });
        }
    });
    let mut bodies = Vec::new();
    for consumer in &mut consumers {
        // Strictly in turn, so each got as many as every other.
        let of_one = consumer.expect_bodies(EACH);
        let order = |body: &String| {
            let (producer, n) = body.split_once(' ').unwrap();
            (producer.to_owned(), n.parse::<usize>().unwrap())
        };
        for producer in 0..PEERS {
            let prefix = format!("{producer} ");
            let from_one = of_one.iter().filter(|body| body.starts_with(&prefix));
            assert!(from_one.map(order).is_sorted(), "first in, first out");
        }
        bodies.extend(of_one);
    }
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), PEERS * EACH, "each once");
}

#[test]
fn a_slow_handshake_keeps_nobody_else_waiting() {
    let broker = TestBroker::start();
    let mut slow: Vec<_> = (0..50).map(|_| broker.connect_raw()).collect();
    for byte in b"AMQP\x00\x00\x09\x01" {
        for client in &mut slow {
            client.send_bytes(&[*byte]);
        }
        broker.connect().close();
    }
    for client in &mut slow {
        client.expect_on(0, "connection.start");
    }
}
