//! The log as messages (RabbitMQ: `log.exchange`).

use leveret::wire::amqp::{Value, queue};

use crate::process::{LOCAL, Program, home, leveret, text_of};
use crate::support::{Delivery, RawClient, eventually};
use rustix::process::Signal;
use std::fs;

const EXCHANGE: &str = "amq.rabbitmq.log";

fn start(configuration: &str) -> Program {
    let home = home(&[("a.conf", configuration)]);
    Program::start_in(home, leveret(&[&LOCAL[..], &["-c", "a.conf"]].concat()))
}

fn listen(program: &Program, routing_key: &str) -> RawClient {
    let mut client = program.client();
    client.open_channel(1);
    client.declare_queue("lines");
    client.bind_queue("lines", EXCHANGE, routing_key);
    client
}

/// The first line with this in it, and those before it.
fn await_line(client: &mut RawClient, words: &str) -> (Delivery, Vec<String>) {
    let mut before = Vec::new();
    loop {
        let mut next = None;
        eventually(words, || {
            next = client.get_as("lines", true);
            next.is_some()
        });
        let delivery = next.expect("it was waited for");
        let text = String::from_utf8(delivery.body.clone()).unwrap();
        if text.contains(words) {
            return (delivery, before);
        }
        before.push(text);
    }
}

#[test]
fn lines_of_the_log_are_messages_in_rabbitmqs_form() {
    let program = start("log.exchange = true\n");
    let mut client = listen(&program, "#");
    program.client().close();
    let (line, _) = await_line(&mut client, "user 'guest' authenticated");
    assert_eq!((&*line.exchange, &*line.routing_key), (EXCHANGE, "info"));
    let text = String::from_utf8(line.body.clone()).unwrap();
    assert!(
        text.ends_with("vhost '/'\n") && text.contains(" INFO  handshake: "),
        "{text}"
    );
    let properties = line.properties();
    assert_eq!(properties.content_type, Some(&b"text/plain"[..]));
    assert!(properties.timestamp.unwrap() > 1_600_000_000);
    let node = properties.headers.unwrap().get("node");
    assert_eq!(node, Some(Value::LongString(b"rabbit@localhost")));

    // A line a warning, which is a peer's fault.
    drop(program.client());
    let (line, _) = await_line(&mut client, "client unexpectedly closed TCP connection");
    assert_eq!(line.routing_key, "warning");
    client.close();
    program.stop();
}

#[test]
fn the_exchange_has_a_level_and_a_format_of_its_own() {
    let program =
        start("log.exchange = true\nlog.exchange.level = warning\nlog.exchange.formatter = json\n");
    let mut client = listen(&program, "#");
    drop(program.client());
    let (line, before) = await_line(&mut client, "unexpectedly closed");
    assert_eq!(before, [""; 0]);
    let json: serde_json::Value = serde_json::from_slice(&line.body).unwrap();
    assert_eq!(
        (&json["level"], &json["domain"]),
        (&"warning".into(), &"connection".into())
    );
    assert_eq!(
        line.properties().content_type,
        Some(&b"application/json"[..])
    );
}

#[test]
fn clients_cannot_publish_to_it_or_delete_it() {
    let program = start("log.exchange = true\n");
    let mut client = listen(&program, "nothing");
    client.publish(EXCHANGE, "info", "forged");
    client.expect_channel_close(
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.log' in vhost '/'",
    );
}

#[test]
fn it_comes_with_a_reload_and_keeps_its_bindings_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("data");
    let start = |configuration: &str| {
        let home = home(&[("a.conf", configuration)]);
        let rest = ["-c", "a.conf", "--log-file", "./l.log", "--data-dir"];
        let mut command = leveret(&[&LOCAL[..], &rest].concat());
        command.arg(&path);
        Program::start_in(home, command)
    };
    let program = start("log.dir = .\n");
    let text = "log.dir = .\nlog.exchange = true\n";
    fs::write(program.path("a.conf"), text).unwrap();
    program.signal(Signal::HUP);
    eventually("the exchange", || {
        text_of(&program.path("l.log"))
            .contains("Logging to exchange 'amq.rabbitmq.log' in vhost '/'")
    });
    let mut client = program.client();
    client.open_channel(1);
    client.call(queue::Declare {
        queue: b"lines",
        durable: true,
        ..Default::default()
    });
    client.bind_queue("lines", EXCHANGE, "info");
    client.close();
    program.stop();

    let program = start(text);
    let mut client = program.client();
    client.open_channel(1);
    let (line, _) = await_line(&mut client, "authenticated");
    assert_eq!(line.routing_key, "info");
    client.close();
    program.stop();

    // Without it the exchange stays, and gets nothing.
    let program = start("");
    let mut client = program.client();
    client.open_channel(1);
    assert_eq!(client.drain("lines"), [""; 0]);
    client.bind_queue("lines", EXCHANGE, "warning");
}
