//! `memory_limit`: whatever clients do, the process stays under it, and serves those who did no wrong. The
//! long form, with a thousand of everything, is `scripts/soak ceiling`.

use std::io::Write;

use leveret::wire::amqp::frame::encode_method;
use leveret::wire::amqp::{Method, basic, queue};

use crate::client::{Client, PATIENCE, publish};
use crate::{BYSTANDERS, Program, bystander};

fn program() -> Program {
    Program::start(
        "printf 'memory_limit = 64MiB\nmanagement.tcp.port = none\nprometheus.tcp.port = none\n\
         tcp_listen_options.sndbuf = 16384\n' > l.conf; \
         exec \"$0\" --config l.conf \"$@\"",
    )
}

fn check(program: &Program) {
    let peak = program.peak_bytes();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < LIMIT, "{peak} bytes");
}

#[test]
fn who_never_reads_takes_no_memory_beyond_the_limit() {
    let program = program();
    let mut bystander = bystander(program.address);
    let mut silent = Vec::new();
    for n in 0..100 {
        let mut client = Client::open(program.address);
        let name = format!("silent {n}").into_bytes();
        client.declare(&name);
        let consume = basic::Consume {
            queue: &name,
            no_ack: n % 2 == 0,
            ..basic::Consume::default()
        };
        client.call(&consume, "basic.consume-ok");
        silent.push(client);
    }
    let mut publisher = Client::open(program.address);
    // More than the operating system keeps for a socket that is not read.
    for _ in 0..8 {
        for n in 0..100 {
            publisher.publish(format!("silent {n}").as_bytes(), &[0; 100_000]);
        }
        bystander.round_trip(BYSTANDERS);
    }
    check(&program);
}

#[test]
fn messages_that_do_not_come_to_their_end_take_no_memory_beyond_the_limit() {
    let program = program();
    let mut bystander = bystander(program.address);
    let large = publish(BYSTANDERS, &vec![7; 4 << 20]);
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut client = Client::open(program.address);
        client.stream.set_nonblocking(true).unwrap();
        // As much as is taken.
        let mut rest = &large[..large.len() - 100_000];
        while let Ok(count) = client.stream.write(rest)
            && count > 0
        {
            rest = &rest[count..];
        }
        stuck.push(client);
    }
    bystander.round_trip(BYSTANDERS);
    let mut honest = Client::open(program.address);
    honest.stream.set_write_timeout(Some(4 * PATIENCE)).unwrap();
    honest.stream.write_all(&large).unwrap();
    honest.stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
    assert_eq!(honest.count(BYSTANDERS), 1);
    check(&program);
}

#[test]
fn declarations_without_end_are_refused_before_the_limit() {
    let program = program();
    let mut bystander = bystander(program.address);
    let mut flood = Client::open(program.address);
    for batch in 0..400 {
        let mut bytes = Vec::new();
        for n in 0..250 {
            let name = format!("{batch} {n:0>200}");
            let declare = queue::Declare {
                queue: name.as_bytes(),
                no_wait: true,
                ..queue::Declare::default()
            };
            encode_method(&mut bytes, 1, &declare);
        }
        flood.stream.write_all(&bytes).unwrap();
    }
    let (_, payload) = flood.read_frame().unwrap();
    match Method::decode(&payload).unwrap() {
        Method::ConnectionClose(close) => assert_eq!(close.reply_code, 506),
        other => panic!("{other:?}"),
    }
    // Publishing may have to wait until something is deleted; looking does not.
    assert_eq!(bystander.count(BYSTANDERS), 0);
    check(&program);
}

const LIMIT: usize = 64 << 20;
