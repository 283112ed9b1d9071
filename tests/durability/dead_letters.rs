//! Dead letters on their way from one durable queue to another when the process is killed: each message is
//! in one of them. It may be in both, as a message may be delivered twice; it is never in neither.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use leveret::wire::amqp::{Properties, basic};

use crate::load::{MARKERS, declare_queue};
use crate::program::{Home, Program};
use crate::random::Random;
use crate::support::{Arguments, Delivery, PATIENCE, RawClient, died, eventually, to_queue};
use crate::verify::wait_until_stored;

/// Messages in a round.
const MANY: usize = 2000;

/// Publishes so many persistent messages with confirms and waits for these. Each has an expiration of
/// its own, if one is given, up to which they are spread evenly.
fn publish_confirmed(client: &mut RawClient, queue: &str, longest_ms: Option<usize>) {
    client.open_channel(9);
    client.confirm();
    for n in 0..MANY {
        let expiration = longest_ms.map(|longest| (n * 7919 % MANY * longest / MANY).to_string());
        let properties = Properties {
            delivery_mode: Some(2),
            expiration: expiration.as_ref().map(|text| text.as_bytes()),
            ..Properties::default()
        };
        client.publish_with("", queue, &properties, n.to_string());
    }
    client.expect_confirms_up_to(MANY as u64);
    client.close_channel();
    client.switch_to(1);
}

/// Messages by number, and how often each is there.
type Numbers = BTreeMap<usize, usize>;

/// All that is in the queue. What it says of its deaths is checked.
fn numbers(client: &mut RawClient, queue: &str, check: impl Fn(&Delivery)) -> Numbers {
    let mut numbers = BTreeMap::new();
    while let Some(delivery) = client.get_as(queue, true) {
        check(&delivery);
        assert_eq!(delivery.properties().delivery_mode, Some(2));
        *numbers.entry(delivery.text().parse().unwrap()).or_default() += 1;
    }
    numbers
}

/// All that comes into the queue until every message was there.
fn all_numbers(client: &mut RawClient, queue: &str, check: impl Fn(&Delivery)) -> Numbers {
    let mut all = Numbers::new();
    let began = Instant::now();
    while all.len() < MANY && began.elapsed() < PATIENCE {
        for (n, times) in numbers(client, queue, &check) {
            *all.entry(n).or_default() += times;
        }
    }
    all
}

/// Each of the messages must be in one of these.
fn expect_all(places: &[Numbers]) {
    let is_there = |n: &usize| places.iter().any(|place| place.contains_key(n));
    let lost: Vec<_> = (0..MANY).filter(|n| !is_there(n)).collect();
    let some = &lost[..lost.len().min(20)];
    assert!(lost.is_empty(), "{} are lost: {some:?}...", lost.len());
    let copies: usize = places.iter().flat_map(|place| place.values()).sum();
    println!("{} of {MANY} twice", copies - MANY);
}

/// Kills the process at some moment within so many milliseconds.
fn kill_within(program: Program, most_ms: usize, random: &mut Random) {
    std::thread::sleep(Duration::from_micros(random.below(most_ms * 1000) as u64));
    program.kill();
}

fn rounds(salt: u64, round: impl Fn(&mut Random)) {
    let seed = std::env::var("LEVERET_SEED").ok();
    let seed = seed.map_or(u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("LEVERET_SEED={seed}");
    let mut random = Random::new(seed.wrapping_mul(31) + salt);
    for _ in 0..ROUNDS {
        round(&mut random);
    }
}

const ROUNDS: usize = 6;

/// A broker with the durable queues `origin`, whose dead letters go to `target`, and `target`.
fn start(home: &Home, arguments: &Arguments<'_>) -> (Program, RawClient) {
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, MARKERS);
    declare_queue(&mut client, "target");
    let mut all = to_queue("target").to_vec();
    all.extend_from_slice(arguments);
    client.declare_durable_with("origin", &all);
    (program, client)
}

#[test]
fn what_expires_while_the_process_dies_is_in_one_of_the_queues() {
    rounds(1, |random| {
        let home = Home::new();
        let (program, mut client) = start(&home, &[]);
        publish_confirmed(&mut client, "origin", Some(600));
        kill_within(program, 500, random);
        let program = home.start();
        let mut client = program.connect();
        // All expire in the end.
        let target = all_numbers(&mut client, "target", |delivery| {
            assert_eq!(delivery.deaths(), [died("origin", "expired", 1)]);
        });
        expect_all(&[target]);
    });
}

#[test]
fn what_is_rejected_while_the_process_dies_is_in_one_of_the_queues() {
    rounds(2, |random| {
        let home = Home::new();
        let (program, mut client) = start(&home, &[]);
        publish_confirmed(&mut client, "origin", None);
        let consumer = program.connect();
        let rejecting = std::thread::spawn(move || reject_all(consumer));
        kill_within(program, 150, random);
        rejecting.join().unwrap();
        let program = home.start();
        let mut client = program.connect();
        let origin = numbers(&mut client, "origin", |delivery| {
            assert_eq!(delivery.deaths(), []);
        });
        let target = numbers(&mut client, "target", |delivery| {
            assert_eq!(delivery.deaths(), [died("origin", "rejected", 1)]);
        });
        expect_all(&[origin, target]);
    });
}

/// Consumes and rejects, one by one or several at once, until the broker is gone.
fn reject_all(client: RawClient) {
    let mut peer = crate::peer::Peer::new(client);
    let mut reject = || -> crate::peer::Outcome<()> {
        peer.send(&basic::Qos {
            prefetch_count: 100,
            ..Default::default()
        })?;
        peer.expect("basic.qos-ok")?;
        peer.send(&crate::support::consume_from("origin", "c"))?;
        peer.expect("basic.consume-ok")?;
        loop {
            let announced = peer.expect("basic.deliver")?;
            let tag = peer.content(&announced)?.delivery_tag;
            if tag % 7 == 0 {
                peer.send(&basic::Nack {
                    delivery_tag: tag,
                    multiple: true,
                    requeue: false,
                })?;
            } else if tag % 7 > 3 {
                peer.send(&basic::Reject {
                    delivery_tag: tag,
                    requeue: false,
                })?;
            }
        }
    };
    assert!(reject().is_err());
}

#[test]
fn what_is_moved_back_while_the_process_dies_is_in_one_of_the_queues() {
    rounds(4, |random| {
        let home = Home::new();
        let (program, mut client) = start(&home, &[]);
        publish_confirmed(&mut client, "origin", None);
        client.consume("origin", "tag");
        (0..MANY).for_each(|_| drop(client.expect_delivery()));
        client.nack(0, true, false);
        client.cancel("tag");
        client.await_count("target", MANY as u32);
        let http = program.http.unwrap();
        let moving = std::thread::spawn(move || move_back(http));
        kill_within(program, 60, random);
        moving.join().unwrap();
        let program = home.start();
        let mut client = program.connect();
        let order = Cell::new(0);
        let origin = numbers(&mut client, "origin", |delivery| {
            assert_eq!(delivery.deaths(), []);
            let n: usize = delivery.text().parse().unwrap();
            assert_eq!(n, order.replace(n + 1), "in their order");
        });
        let target = numbers(&mut client, "target", |delivery| {
            assert_eq!(delivery.deaths(), [died("origin", "rejected", 1)]);
        });
        println!("{} were moved", origin.len());
        expect_all(&[origin, target]);
    });
}

/// Has the dead letters in `target` moved to where they died, until that is done or the broker is gone.
fn move_back(http: SocketAddr) {
    let request = "POST /api/queues/%2F/target/redrive HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
                   authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\ncontent-length: 2\r\n\r\n{}";
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(http)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    if let Ok(answer) = ask()
        && !answer.is_empty()
    {
        let all = format!(r#"{{"moved":{MANY},"skipped":0}}"#);
        assert!(answer.ends_with(&all), "{answer}");
    }
}

#[test]
fn what_makes_room_while_the_process_dies_is_in_one_of_the_queues() {
    rounds(3, |random| {
        let home = Home::new();
        let (program, mut client) = start(&home, &[("x-max-length", 10.into())]);
        publish_confirmed(&mut client, "origin", None);
        kill_within(program, 20, random);
        let program = home.start();
        let mut client = program.connect();
        assert!(client.counts("origin").0 <= 10);
        let origin = numbers(&mut client, "origin", |delivery| {
            assert_eq!(delivery.deaths(), []);
        });
        let target = numbers(&mut client, "target", |delivery| {
            assert_eq!(delivery.deaths(), [died("origin", "maxlen", 1)]);
        });
        expect_all(&[origin, target]);
    });
}

#[test]
fn messages_on_their_way_through_several_queues_arrive() {
    rounds(4, |random| {
        let home = Home::new();
        let program = home.start();
        let mut client = program.connect();
        declare_queue(&mut client, "end");
        for (name, next) in [("third", "end"), ("second", "third"), ("first", "second")] {
            let mut arguments = to_queue(next).to_vec();
            arguments.push(("x-message-ttl", 100.into()));
            client.declare_durable_with(name, &arguments);
        }
        publish_confirmed(&mut client, "first", None);
        kill_within(program, 350, random);
        let program = home.start();
        let mut client = program.connect();
        let end = all_numbers(&mut client, "end", |delivery| {
            let expected = ["third", "second", "first"].map(|name| died(name, "expired", 1));
            assert_eq!(delivery.deaths(), expected);
        });
        expect_all(&[end]);
    });
}

#[test]
fn a_history_survives_as_it_is() {
    let home = Home::new();
    let (program, mut client) = start(&home, &[]);
    crate::clean_stop::publish_persistent(&mut client, "", "origin", "m");
    client.reject_next("origin");
    let before = client.await_unacked("target");
    assert_eq!(before.deaths(), [died("origin", "rejected", 1)]);
    wait_until_stored(&mut client);
    program.kill();
    home.start().stop();
    let program = home.start();
    let after = program.connect().await_message("target");
    assert_eq!(after.properties, before.properties);
    assert_eq!(after.body, before.body);
    assert!(after.redelivered);
}

/// RabbitMQ: `x-dead-letter-strategy` at-least-once.
#[test]
fn what_waits_for_room_is_not_lost() {
    for killed in [true, false] {
        let home = Home::new();
        let program = home.start();
        let mut client = program.connect();
        declare_queue(&mut client, MARKERS);
        client.declare_durable_with(
            "target",
            &[
                ("x-max-length", 3.into()),
                ("x-overflow", "reject-publish".into()),
            ],
        );
        let mut arguments = to_queue("target").to_vec();
        arguments.push(("x-dead-letter-strategy", "at-least-once".into()));
        client.declare_durable_with("origin", &arguments);
        for n in 0..10 {
            crate::clean_stop::publish_persistent(&mut client, "", "origin", &n.to_string());
        }
        for _ in 0..8 {
            client.reject_next("origin");
        }
        wait_until_stored(&mut client);
        if killed {
            program.kill();
        } else {
            program.stop_at_once();
        }
        let program = home.start();
        let mut client = program.connect();
        let mut found = Vec::new();
        for queue in ["target", "origin"] {
            found.extend(client.drain(queue));
        }
        found.sort();
        found.dedup();
        let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_dead_letter_is_stored_before_its_origin_is_let_go() {
    // Seen from outside: whatever the target says it holds is there after a kill.
    rounds(5, |random| {
        let home = Home::new();
        let (program, mut client) = start(&home, &[("x-message-ttl", 30.into())]);
        publish_confirmed(&mut client, "origin", None);
        let count = random.below(MANY) as u32;
        eventually("some are dead", || client.counts("target").0 >= count);
        program.kill();
        let program = home.start();
        let mut client = program.connect();
        let target = all_numbers(&mut client, "target", |_| ());
        expect_all(&[target]);
    });
}
