//! leveretctl on the data directory of a broker that does not run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use leveret::wire::amqp::{Properties, exchange, queue};
use serde_json::Value;

use super::served::{ServedBroker, Shell};

/// A broker with something of everything that definitions can have.
fn furnished() -> ServedBroker {
    let broker = ServedBroker::start();
    for line in [
        "leveretctl add_vhost staging --description 'not for real' --tags a,b",
        "leveretctl add_user ann secret",
        "leveretctl set_user_tags ann management policymaker",
        "leveretctl set_permissions -p staging ann '^a' '' '.*'",
        "leveretctl set_topic_permissions ann amq.topic '^a' '^b'",
        "leveretctl set_user_limits ann '{\"max-channels\":100}'",
        "leveretctl set_vhost_limits -p staging '{\"max-queues\":10}'",
        "leveretctl set_policy p '^q' '{\"max-length\":500}' --priority 3 --apply-to queues",
        "leveretctl set_operator_policy o '^q' '{\"max-length\":50}'",
        "leveretctl set_global_parameter g '{\"a\":[1,null]}'",
        "leveretctl set_cluster_name somewhere",
    ] {
        broker.does(line);
    }
    let mut client = broker.guest();
    client.call(queue::Declare {
        queue: b"q",
        durable: true,
        ..Default::default()
    });
    client.call(exchange::Declare {
        exchange: b"x",
        kind: b"topic",
        durable: true,
        ..Default::default()
    });
    client.bind_queue("q", "x", "a.*");
    client.confirm();
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    client.publish_with("x", "a.b", &persistent, "m");
    client.expect("basic.ack");
    broker
}

/// All files of a directory: what is in them, and when they were written.
fn snapshot(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        if path.is_dir() {
            let inner = snapshot(&path).into_iter();
            files.extend(inner.map(|(inner, file)| (format!("{name}/{inner}"), file)));
        } else {
            let written = entry.metadata().unwrap().modified().unwrap();
            // Of a broker that was killed a socket stays.
            let bytes = fs::read(&path).unwrap_or_default();
            files.insert(name, (bytes, written));
        }
    }
    files
}

fn exported(shell: &Shell) -> Value {
    let run = shell.types("leveretctl export_definitions -");
    assert_eq!((run.code, &*run.err), (0, ""));
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn definitions_are_those_that_the_running_broker_exported() {
    for ends in [ServedBroker::stop, ServedBroker::kill] {
        let broker = furnished();
        let running: Value =
            serde_json::from_str(&broker.does("leveretctl export_definitions -")).unwrap();
        assert_eq!(running["queues"][0]["name"], "q");
        let shell = ends(broker);
        let before = snapshot(&shell.data_directory());
        assert_eq!(exported(&shell), running);
        // It says whose they are, and works under RabbitMQ's name, too.
        let data = shell.data_directory();
        let run = shell.types("rabbitmqctl export_definitions defs.json && cat defs.json");
        let said = format!(
            "Exporting definitions in JSON of the broker stopped in {} to a file at \"defs.json\" ...\n",
            data.display()
        );
        let text = run.out.strip_prefix(&said).expect(&run.out);
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), running);
        let run = shell.types("leveretctl check");
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(snapshot(&data), before);
    }
}

#[test]
fn a_directory_that_has_none_is_no_broker() {
    let shell = Shell::new();
    let run = shell.types("leveretctl export_definitions -");
    assert_eq!((run.code, &*run.out), (69, ""));
    assert!(run.err.contains("nothing was ever stored there"), "{run:?}");
    assert!(snapshot(&shell.data_directory()).is_empty());
    let run = shell.types("LEVERET_DATA_DIR=/nonexistent leveretctl export_definitions -");
    assert_eq!(run.code, 69);
    assert!(run.err.contains("Most common reasons"), "{run:?}");
    // A socket that was named is not a directory.
    let run = shell.types("leveretctl --socket leveret.sock export_definitions -");
    assert!(run.err.contains("Most common reasons"), "{run:?}");
}
