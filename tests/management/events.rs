//! The live log and events (RabbitMQ's plugin: `rabbitmq_event_exchange`; names, properties and order were
//! seen from it), and the limits that raise alarms.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use leveret::Config;
use leveret::config::Category;
use leveret::log_tap::{LogLine, LogTap};
use leveret::management::http::Door;
use leveret::server::{Address, Command, Handle, Server};
use leveret::wire::amqp::{Value as AmqpValue, queue};
use log::Level;
use serde_json::json;

use crate::asking::{ask, expect, refuse};
use crate::support::{EventStream, HttpClient, Login, TestBroker, Told, eventually, table};

const EVENTS: &str = "/leveret/events?kinds=event";

/// A broker in a program that has a log.
struct WithLog {
    tap: LogTap,
    http: HttpClient,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl WithLog {
    fn start() -> WithLog {
        let tap = LogTap::default();
        let (told, started) = mpsc::channel();
        let to_publish = tap.clone();
        let thread = thread::spawn(move || {
            let mut server = Server::bind(Config {
                bind: vec!["127.0.0.1:0".to_owned()],
                http_port: Some(0),
                http_ip: Some("127.0.0.1".to_owned()),
                ..Config::default()
            })
            .unwrap();
            server.publish_log(to_publish);
            let web = server.web_addresses();
            told.send((server.handle(), first_http(&web))).unwrap();
            server.run().unwrap();
        });
        let (handle, address) = started.recv().unwrap();
        WithLog {
            tap,
            http: HttpClient::new(address),
            handle,
            thread: Some(thread),
        }
    }

    fn log(&self, level: Level, text: &str) {
        self.tap.add(LogLine {
            level,
            category: Category::Queue,
            time: "2026-11-20T14:24:27.852Z".into(),
            said: text.into(),
            text: text.to_owned(),
        });
    }
}

impl Drop for WithLog {
    fn drop(&mut self) {
        self.handle.send(Command::StopNow);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn first_http(web: &[(Door, Address)]) -> SocketAddr {
    let mut tcp = web.iter().filter_map(|(door, address)| match address {
        Address::Tcp(address) if *door == Door::Api => Some(*address),
        _ => None,
    });
    tcp.next().unwrap()
}

#[test]
fn lines_of_the_log_are_told_as_they_come() {
    let broker = WithLog::start();
    broker.log(Level::Info, "before");
    let mut stream = EventStream::open(&broker.http, "/leveret/events?kinds=log");
    broker.log(Level::Warn, "a \"line\"");
    let expected = json!({
        "time": "2026-11-20T14:24:27.852Z",
        "level": "warning",
        "category": "queue",
        "text": "a \"line\"",
    });
    assert_eq!(stream.next(), Told::Log(expected));
}

#[test]
fn both_kinds_come_in_one_stream() {
    let broker = WithLog::start();
    let mut stream = EventStream::open(&broker.http, "/leveret/events?kinds=log,event");
    expect(&broker.http, &[("PUT /vhosts/test {}", 201)]);
    loop {
        if let Told::Event(event) = stream.next()
            && event["name"] == "vhost.created"
        {
            break;
        }
    }
    broker.log(Level::Info, "a line");
    let told = stream.next();
    assert!(matches!(told, Told::Log(_) | Told::Event(_)), "{told:?}");
}

#[test]
fn the_last_lines_are_shown_as_text() {
    let broker = WithLog::start();
    for n in 0..5 {
        broker.log(Level::Info, &format!("line {n}"));
    }
    let lines = |query: &str| ask(&broker.http, &format!("GET /leveret/log{query}"));
    assert_eq!(lines("?lines=2").text(), "line 3\nline 4\n");
    assert_eq!(lines("").text().lines().count(), 5);
    assert_eq!(lines("?lines=0").text(), "");
    let kind = lines("").header("content-type").unwrap().to_owned();
    assert_eq!(kind, "text/plain; charset=utf-8");
    assert_eq!(lines("?lines=x").status, 400);
}

#[test]
fn an_embedded_broker_has_events_and_no_log() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            ("GET /leveret/log", 501),
            ("GET /leveret/events?kinds=log", 501),
            ("GET /leveret/events?kinds=x", 400),
            ("POST /leveret/events {}", 405),
        ],
    );
    EventStream::open(&http, "/leveret/events");
    let head = http.request("HEAD", "/leveret/events", &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn what_goes_on_is_for_who_may_look_at_everything() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for (name, tags) in [("m", ["management"]), ("o", ["monitoring"])] {
        broker.add_user(name);
        broker.tag(name, &tags);
    }
    refuse(
        &http.user("m", "m"),
        &[
            ("GET /leveret/events", 401, "Not monitor user"),
            ("GET /leveret/log", 401, "Not monitor user"),
        ],
    );
    EventStream::open(&http.user("o", "o"), EVENTS);
    assert_eq!(ask(&http.nobody(), "GET /leveret/events").status, 401);
}

#[test]
fn what_a_client_does_is_told_in_order() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut stream = EventStream::open(&http, EVENTS);
    let mut client = broker.connect();
    client.call(queue::Declare {
        queue: b"q",
        arguments: table(&[("x-max-length", 5.into())]).view(),
        ..Default::default()
    });
    client.declare_exchange("x", "topic");
    client.bind_queue("q", "x", "k");
    client.consume("q", "c");
    client.cancel("c");
    client.call(queue::Unbind {
        queue: b"q",
        exchange: b"x",
        routing_key: b"k",
        ..Default::default()
    });
    client.bind_queue("q", "x", "k2");
    client.consume("q", "c2");
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.expect("basic.cancel");
    client.close_channel();
    client.close();
    let mut events = Vec::new();
    loop {
        events.push(stream.next_event());
        if events[events.len() - 1]["name"] == "connection.closed" {
            break;
        }
    }
    let names: Vec<_> = events.iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "user.authentication.success",
            "connection.created",
            "channel.created",
            "queue.created",
            "exchange.created",
            "binding.created",
            "consumer.created",
            "consumer.deleted",
            "binding.deleted",
            "binding.created",
            "consumer.created",
            "consumer.deleted",
            "binding.deleted",
            "queue.deleted",
            "channel.closed",
            "connection.closed",
        ]
    );
    let properties = |at: usize| &events[at]["properties"];
    assert_eq!(properties(0)["auth_mechanism"], "PLAIN");
    assert_eq!(properties(1)["vhost"], "/");
    let connection = properties(1)["name"].as_str().unwrap();
    assert_eq!(properties(2)["name"], format!("{connection} (1)"));
    assert_eq!(
        *properties(3),
        json!({
            "name": "q", "vhost": "/", "durable": false, "auto_delete": false, "exclusive": false,
            "arguments": {"x-max-length": 5}, "user_who_performed_action": "guest",
        })
    );
    assert_eq!(properties(4)["type"], "topic");
    assert_eq!(
        *properties(5),
        json!({
            "vhost": "/", "source_name": "x", "source_kind": "exchange", "destination_name": "q",
            "destination_kind": "queue", "routing_key": "k", "arguments": {},
            "user_who_performed_action": "guest",
        })
    );
    assert_eq!(properties(6)["consumer_tag"], "c");
    assert_eq!(properties(6)["ack_required"], true);
    assert_eq!(properties(15)["name"], connection);
    assert!(events[0]["time"].as_str().unwrap().ends_with('Z'));
    assert!(events[0]["timestamp_in_ms"].as_u64().unwrap() > 1_600_000_000_000);
}

#[test]
fn what_goes_with_its_queue_or_its_connection_is_told() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_exchange("x", "direct");
    client.call(queue::Declare {
        queue: b"mine",
        exclusive: true,
        ..Default::default()
    });
    client.bind_queue("mine", "x", "k");
    client.consume("mine", "c");
    let mut stream = EventStream::open(&broker.http(), EVENTS);
    drop(client);
    let expected = [
        "consumer.deleted",
        "channel.closed",
        "binding.deleted",
        "queue.deleted",
        "connection.closed",
    ];
    assert_eq!(stream.names_up_to("connection.closed"), expected);
    expect(&broker.http(), &[("DELETE /exchanges/%2F/x", 204)]);
    let event = stream.next_event();
    assert_eq!(
        (&event["name"], &event["properties"]["name"]),
        (&json!("exchange.deleted"), &json!("x"))
    );
    assert_eq!(event["properties"]["user_who_performed_action"], "guest");
}

#[test]
fn what_administrators_do_is_told_in_order() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut stream = EventStream::open(&http, EVENTS);
    expect(
        &http,
        &[
            (r#"PUT /users/u {"password":"x","tags":"monitoring"}"#, 201),
            (r#"PUT /users/u {"password":"y","tags":""}"#, 204),
            (
                r#"PUT /permissions/%2F/u {"configure":"","write":".*","read":"a"}"#,
                201,
            ),
            ("DELETE /permissions/%2F/u", 204),
            (
                r#"PUT /policies/%2F/p {"pattern":"^x","definition":{"max-length":3}}"#,
                201,
            ),
            ("DELETE /policies/%2F/p", 204),
            (r#"PUT /global-parameters/g {"value":{"a":1}}"#, 201),
            ("DELETE /global-parameters/g", 204),
            ("DELETE /users/u", 204),
        ],
    );
    assert_eq!(
        stream.names_up_to("user.deleted"),
        [
            "user.created",
            "user.tags.set",
            "user.password.changed",
            "user.tags.set",
            "permission.created",
            "permission.deleted",
            "policy.set",
            "policy.cleared",
            "parameter.set",
            "parameter.cleared",
            "user.deleted",
        ]
    );
    expect(
        &http,
        &[("PUT /vhosts/v {}", 201), ("DELETE /vhosts/v", 204)],
    );
    let names = stream.names_up_to("vhost.deleted");
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    assert_eq!(
        (count("exchange.created"), count("exchange.deleted")),
        (7, 7)
    );
    assert_eq!(count("vhost.created"), 1);
}

#[test]
fn a_refused_login_is_told() {
    let broker = TestBroker::with_management();
    let mut stream = EventStream::open(&broker.http(), EVENTS);
    let mut client = broker.connect_raw();
    client.begin_login(&Login {
        response: b"\0guest\0wrong",
        ..Login::default()
    });
    let event = stream.next_event();
    assert_eq!(event["name"], "user.authentication.failure");
    assert_eq!(event["properties"]["name"], "guest");
    assert_eq!(event["properties"]["error"], "invalid credentials");
    let stranger = broker.http().user("nobody", "x");
    assert_eq!(ask(&stranger, "GET /whoami").status, 401);
    let event = stream.next_event();
    assert_eq!(event["properties"]["name"], "nobody");
    assert_eq!(event["properties"]["protocol"], "http");
}

#[test]
fn nothing_is_noted_while_nobody_listens() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let told = || http.get("/leveret/status")["events"].clone();
    let mut client = broker.connect();
    client.declare_queue("q");
    assert_eq!(told(), json!({"listeners": 0, "told": 0, "lost": 0}));
    let stream = EventStream::open(&http, EVENTS);
    client.declare_queue("q2");
    assert_eq!(told(), json!({"listeners": 1, "told": 1, "lost": 0}));
    drop(stream);
    let mut count = 0;
    eventually("nobody listens", || {
        count += 1;
        client.declare_queue(&format!("other-{count}"));
        told()["listeners"] == 0
    });
    let before = told();
    client.declare_queue("unheard");
    assert_eq!(told(), before);
}

#[test]
fn there_are_only_so_many_streams() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut streams: Vec<_> = (0..16).map(|_| EventStream::open(&http, EVENTS)).collect();
    let reply = ask(&http, "GET /leveret/events");
    assert_eq!(reply.status, 503);
    streams.pop();
    eventually("a place", || {
        let mut answer = [0; 12];
        http.begin(EVENTS).read_exact(&mut answer).unwrap();
        &answer == b"HTTP/1.1 200"
    });
}

#[test]
fn who_does_not_read_is_cut_off() {
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.tcp.send_buffer = Some(16 << 10);
    });
    let http = broker.http();
    let mut reader = EventStream::open(&http, EVENTS);
    let mut sleeper = http.begin(EVENTS);
    let mut begun = [0; 12];
    sleeper.read_exact(&mut begun).unwrap();
    let mut client = broker.connect();
    let large = "x".repeat(3000);
    let mut rounds = 0;
    // More than all buffers on the way can hold, in pieces that one who reads keeps up with.
    eventually("it is cut off", || {
        for n in 0..100 {
            client.call(queue::Declare {
                queue: format!("q-{rounds}-{n}").as_bytes(),
                arguments: table(&[("note", AmqpValue::string(&large))]).view(),
                ..Default::default()
            });
        }
        rounds += 1;
        for _ in 0..100 {
            while reader.next_event()["name"] != "queue.created" {}
        }
        http.get("/leveret/status")["events"]["listeners"] == 1
    });
    // What was under way arrives, and then there is an end without the mark of one.
    let mut rest = Vec::new();
    let _ = sleeper.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    assert_eq!(http.get("/leveret/status")["events"]["lost"], 0);
}

#[test]
fn events_are_messages_where_the_exchange_is_on() {
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.event_exchange.is_on = true;
    });
    let http = broker.http();
    let mut client = broker.connect();
    client.declare_queue("events");
    let told = || http.get("/leveret/status")["events"]["told"].clone();
    assert_eq!(told(), 0);
    client.bind_queue("events", "amq.rabbitmq.event", "queue.*");
    client.declare_queue("q");
    client.consume("events", "c");
    let delivery = client.expect_delivery();
    assert_eq!(
        (&*delivery.exchange, &*delivery.routing_key, delivery.text()),
        ("amq.rabbitmq.event", "queue.created", "")
    );
    assert_eq!(delivery.properties().delivery_mode, Some(2));
    assert_eq!(delivery.header("name"), Some(AmqpValue::string("q")));
    assert_eq!(delivery.header("durable"), Some(AmqpValue::bool(false)));
    let Some(AmqpValue::Long(at_ms)) = delivery.header("timestamp_in_ms") else {
        panic!("{:?}", delivery.properties());
    };
    let timestamp = delivery.properties().timestamp.unwrap();
    assert_eq!(timestamp, at_ms as u64 / 1000);
    // Internal, as RabbitMQ's is.
    client.publish("amq.rabbitmq.event", "queue.created", "forged");
    let text =
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.event' in vhost '/'";
    client.expect_channel_close(403, text);
}

#[test]
fn bindings_of_the_exchange_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        TestBroker::with(|config| {
            config.data_dir = Some(directory.path().join("data"));
            config.event_exchange.is_on = true;
        })
    };
    let broker = start();
    let mut client = broker.connect();
    client.call(queue::Declare {
        queue: b"events",
        durable: true,
        ..Default::default()
    });
    client.bind_queue("events", "amq.rabbitmq.event", "exchange.created");
    client.close();
    broker.stop();
    let broker = start();
    let mut client = broker.connect();
    client.declare_exchange("x", "fanout");
    client.consume("events", "c");
    let delivery = client.expect_delivery();
    assert_eq!(delivery.header("name"), Some(AmqpValue::string("x")));
    client.close();
    broker.stop();
}

#[test]
fn without_that_there_is_no_such_exchange() {
    let broker = TestBroker::with_management();
    let reply = ask(&broker.http(), "GET /exchanges/%2F/amq.rabbitmq.event");
    assert_eq!(reply.status, 404);
}

#[test]
fn a_watermark_raises_an_alarm_that_shows_everywhere() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut stream = EventStream::open(&http, EVENTS);
    let node = || http.get("/nodes")[0].clone();
    let before = node();
    assert!(before["mem_used"].as_u64().unwrap() > 100_000);
    assert!(before["mem_limit"].as_u64() > before["mem_used"].as_u64());
    assert!(before["disk_free"].as_u64().unwrap() > 0);
    assert_eq!(before["mem_alarm"], false);

    let order = r#"POST /leveret/watermark {"memory_absolute":"1kB"}"#;
    expect(&http, &[(order, 204)]);
    let event = stream.next_event();
    assert_eq!(event["name"], "alarm.set");
    assert_eq!(event["properties"]["source"], "memory");
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.expect_on(0, "connection.blocked");
    let alarmed = node();
    assert_eq!(
        (&alarmed["mem_alarm"], &alarmed["mem_limit"]),
        (&json!(true), &json!(1000))
    );
    let reply = ask(&http, "GET /health/checks/alarms");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["alarms"][0]["resource"], "memory");
    let status = http.get("/leveret/status");
    assert_eq!(status["alarms"][0]["source"], "memory");
    assert_eq!(
        (&status["memory"]["limit"], &status["memory"]["alarm"]),
        (&json!(1000), &json!(true))
    );

    let order = r#"POST /leveret/watermark {"memory_relative":0.6}"#;
    expect(&http, &[(order, 204)]);
    client.expect_on(0, "connection.unblocked");
    assert_eq!(node()["mem_limit"], before["mem_limit"]);
    expect(&http, &[("GET /health/checks/alarms", 200)]);
    let names = stream.names_up_to("alarm.cleared");
    assert_eq!(names.iter().filter(|name| *name == "alarm.set").count(), 0);
}

#[test]
fn a_disk_limit_raises_the_other_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.data_dir = Some(directory.path().join("data"));
    });
    let http = broker.http();
    let node = || http.get("/nodes")[0].clone();
    assert_eq!(
        (&node()["disk_free_limit"], &node()["disk_free_alarm"]),
        (&json!(50_000_000), &json!(false))
    );
    let orders = [
        (
            r#"POST /leveret/watermark {"disk_absolute":"1000TiB"}"#,
            true,
        ),
        (
            r#"POST /leveret/watermark {"disk_absolute":1000000}"#,
            false,
        ),
        (r#"POST /leveret/watermark {"disk_relative":1000000}"#, true),
        (r#"POST /leveret/watermark {"disk_relative":"0.0"}"#, false),
    ];
    for (order, is_alarmed) in orders {
        expect(&http, &[(order, 204)]);
        assert_eq!(node()["disk_free_alarm"], is_alarmed, "{order}");
    }
    assert_eq!(node()["disk_free_limit"], 0);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let broker = TestBroker::with_management();
    let size = "memory_absolute wants a size, as 100MB, 64MiB or 1000000";
    let share = "disk_relative wants a number of 0 or more, as 0.4";
    let nothing =
        "one of memory_relative, memory_absolute, disk_relative and disk_absolute is wanted";
    refuse(
        &broker.http(),
        &[
            (
                r#"POST /leveret/watermark {"memory_absolute":"lots"}"#,
                400,
                size,
            ),
            (
                r#"POST /leveret/watermark {"memory_absolute":-1}"#,
                400,
                size,
            ),
            (
                r#"POST /leveret/watermark {"disk_relative":-0.5}"#,
                400,
                share,
            ),
            (
                r#"POST /leveret/watermark {"disk_relative":"x"}"#,
                400,
                share,
            ),
            ("POST /leveret/watermark {}", 400, nothing),
        ],
    );
}
