//! Messages that an exchange holds back, over the end of the process.

use std::time::Instant;

use leveret::wire::amqp::{Properties, TableBuilder, Value, exchange};

use crate::load::{MARKERS, declare_queue};
use crate::program::Home;
use crate::support::{RawClient, let_pass, ms};
use crate::verify::wait_until_stored;

fn publish_delayed(client: &mut RawClient, delay: i32, body: &str) {
    let mut headers = TableBuilder::new();
    headers.put("x-delay", delay);
    let properties = Properties {
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    client.publish_with("delayed", "", &properties, body);
}

#[test]
fn what_waits_at_a_durable_exchange_comes_at_its_time_after_a_start() {
    for killed in [false, true] {
        let home = Home::new();
        let program = home.start();
        let mut client = program.connect();
        declare_queue(&mut client, MARKERS);
        declare_queue(&mut client, "q");
        let mut arguments = TableBuilder::new();
        arguments.put("x-delayed-type", "fanout");
        client.call(exchange::Declare {
            exchange: b"delayed",
            kind: b"x-delayed-message",
            durable: true,
            arguments: arguments.view(),
            ..Default::default()
        });
        client.bind_queue("q", "delayed", "");
        let published = Instant::now();
        publish_delayed(&mut client, 2500, "second");
        publish_delayed(&mut client, 300, "first");
        publish_delayed(&mut client, 600_000, "never");
        wait_until_stored(&mut client);
        match killed {
            true => program.kill(),
            false => program.stop_at_once(),
        }
        let_pass(ms(400));
        let program = home.start();
        let mut client = program.connect();
        // Its time came while nobody was there.
        assert_eq!(client.await_message("q").text(), "first");
        let second = client.await_message("q");
        assert_eq!(second.text(), "second");
        assert_eq!(second.header("x-delay"), Some(Value::SignedInt(-2500)));
        assert!(published.elapsed() + ms(1) >= ms(2500));
        assert_eq!(client.counts("q"), (0, 0));
        program.stop_at_once();
    }
}
