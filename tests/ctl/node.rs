//! The broker as a whole: status, health checks, stopping, and none at all.

use serde_json::{Value, json};

use super::ScriptedBroker;
use super::broker::run;

#[test]
fn the_status_has_rabbitmqs_sections() {
    let broker = ScriptedBroker::start();
    let run = broker.run(&["status"]);
    assert_eq!((run.code, &*run.err), (0, ""));
    assert!(
        run.out
            .starts_with("Status of node leveret@host ...\nRuntime\n\nOS PID: 7\n"),
        "{run:?}"
    );
    for section in [
        "Alarms",
        "Memory",
        "File Descriptors",
        "Free Disk Space",
        "Totals",
        "Listeners",
    ] {
        assert!(run.out.lines().any(|line| line == section), "{section}");
    }
    let run = broker.run(&["status", "--formatter", "json"]);
    let status: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(status["uptime"], 61);
}

#[test]
fn health_checks_tell_by_their_status() {
    let broker = ScriptedBroker::start();
    for command in [
        &["ping"][..],
        &["check_running"],
        &["check_local_alarms"],
        &["check_alarms"],
        &["check_port_listener", "5672"],
        &["check_protocol_listener", "amqp"],
        &["await_startup"],
        &["node_health_check"],
        &["is_running", "-q"],
    ] {
        let run = broker.run(command);
        assert_eq!((run.code, &*run.err), (0, ""), "{command:?}");
    }
    broker.fails(
        &["check_port_listener", "1"],
        69,
        "No listener for port 1 is active on node leveret@host. Found listeners that use the following ports: 5672, 15672\n",
    );
    assert_eq!(broker.run(&["check_protocol_listener", "mqtt"]).code, 69);
    assert_eq!(broker.run(&["check_port_listener", "x"]).code, 65);
    broker.answers(
        "GET /api/leveret/status",
        200,
        r#"{"node":"n","alarms":[{"source":"memory","node":"n"}]}"#,
    );
    broker.fails(&["check_local_alarms"], 69, "Memory alarm on node n\n");
}

#[test]
fn it_is_stopped_and_set() {
    let broker = ScriptedBroker::start();
    for request in [
        "stop",
        "listeners",
        "close-connections",
        "log-level",
        "watermark",
        "rotate-logs",
    ] {
        broker.answers(&format!("POST /api/leveret/{request}"), 200, "{}");
    }
    let stop = "POST /api/leveret/stop";
    broker.asks(&["stop"], &[(stop, json!({"wait": false}))]);
    broker.asks(&["shutdown", "--no-wait"], &[(stop, json!({"wait": true}))]);
    broker.asks(
        &["stop_app"],
        &[
            ("POST /api/leveret/listeners", json!({"accepting": false})),
            (
                "POST /api/leveret/close-connections",
                json!({"user": null, "vhost": null, "reason": "shutdown"}),
            ),
        ],
    );
    broker.asks(
        &["set_log_level", "debug"],
        &[(
            "POST /api/leveret/log-level",
            json!({"level": "debug", "category": null}),
        )],
    );
    let watermark = "POST /api/leveret/watermark";
    broker.asks(
        &["set_vm_memory_high_watermark", "0.4"],
        &[(watermark, json!({"memory_relative": 0.4}))],
    );
    broker.asks(
        &["set_vm_memory_high_watermark", "absolute", "1GB"],
        &[(watermark, json!({"memory_absolute": "1GB"}))],
    );
    broker.asks(
        &["set_disk_free_limit", "mem_relative", "1.5"],
        &[(watermark, json!({"disk_relative": 1.5}))],
    );
    broker.asks(
        &["rotate_logs"],
        &[("POST /api/leveret/rotate-logs", json!({}))],
    );
}

#[test]
fn a_broker_that_runs_is_not_reset() {
    let broker = ScriptedBroker::start();
    let run = broker.run(&["reset"]);
    assert_eq!(run.code, 64);
    assert!(
        run.err.contains("Stop it with 'leveretctl stop_app'"),
        "{run:?}"
    );
    assert_eq!(broker.asked(), []);
    broker.answers(
        "GET /api/leveret/status",
        200,
        r#"{"node":"n","is_under_maintenance":true}"#,
    );
    let reset = "POST /api/leveret/reset";
    broker.answers(reset, 204, "");
    broker.asks(&["force_reset"], &[(reset, json!({"force": true}))]);
}

#[test]
fn what_only_leveret_has_is_missed_by_name() {
    let broker = ScriptedBroker::start();
    let run = broker.run(&["environment"]);
    assert_eq!(run.code, 69);
    let text = "does not have /api/leveret/environment: it is not leveret, or of another version";
    assert!(run.err.contains(text), "{run:?}");
}

#[test]
fn without_a_broker_every_command_names_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        &["status"][..],
        &["list_queues"],
        &["add_user", "u", "p"],
        &["stop"],
        &["ping", "-q"],
    ] {
        let run = run(directory.path(), command, "");
        assert_eq!((run.code, &*run.out), (69, ""), "{command:?}");
        let socket = directory.path().join("leveret.sock");
        let text = format!(
            "unable to perform an operation on node '{}'",
            socket.display()
        );
        assert!(run.err.contains(&text), "{run:?}");
    }
    let status = run(directory.path(), &["status"], "");
    assert!(
        status.err.contains("no broker is running on it"),
        "{status:?}"
    );
    assert_eq!(run(directory.path(), &["stop", "--idempotent"], "").code, 0);
    assert_eq!(
        run(directory.path(), &["await_startup", "-t", "1"], "").code,
        75
    );
}

#[test]
fn passwords_are_not_told_when_nobody_answers() {
    let directory = tempfile::tempdir().unwrap();
    let command = [
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--user",
        "u",
        "--password",
        "sesame",
        "list_users",
    ];
    let run = run(directory.path(), &command, "");
    assert_eq!(run.code, 69);
    assert!(run.err.contains("127.0.0.1:1"), "{run:?}");
    assert!(!run.err.contains("sesame"));
}

#[test]
fn a_data_directory_that_nobody_has_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let run = run(directory.path(), &["check", missing.to_str().unwrap()], "");
    assert_eq!(run.code, 65);
    assert!(!missing.exists());
}
