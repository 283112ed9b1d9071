//! Users, permissions, virtual hosts, policies, parameters, limits, queues, connections, definitions.

use serde_json::json;

use super::ScriptedBroker;

const U1: &str = r#"{"name":"u1","password_hash":"aGFzaA==","hashing_algorithm":"rabbit_password_hashing_sha256","tags":["management"],"limits":{}}"#;

#[test]
fn a_user_is_added_once() {
    let broker = ScriptedBroker::start();
    broker.answers("PUT /api/users/u1", 201, "");
    broker.prints(
        &["add_user", "u1", "secret"],
        "Adding user \"u1\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! \
         See 'leveretctl help set_permissions' to learn more.\n",
    );
    let change = (
        "PUT /api/users/u1".to_owned(),
        json!({"password": "secret", "tags": ""}),
    );
    assert_eq!(broker.asked(), [change]);
    broker.prints(&["-q", "add_user", "u1", "secret"], "");
    broker.asked();

    broker.answers("GET /api/users/u1", 200, U1);
    broker.fails(
        &["add_user", "u1", "secret"],
        70,
        "Error:\nUser \"u1\" already exists\n",
    );
    assert_eq!(broker.asked(), []);
}

#[test]
fn passwords_come_from_standard_input_if_they_are_left_out() {
    let broker = ScriptedBroker::start();
    broker.answers("PUT /api/users/u1", 201, "");
    let run = broker.run_with_input(&["add_user", "u1"], "from stdin\nmore\n");
    assert_eq!((run.code, &*run.err), (0, ""));
    assert!(
        run.out
            .starts_with("Adding user \"u1\" ...\nPassword: \nDone.")
    );
    assert_eq!(broker.asked()[0].1["password"], "from stdin");
    broker.fails(
        &["add_user", "u1"],
        65,
        "Error:\nPassword is not provided via argument or stdin\n",
    );
}

#[test]
fn a_new_password_keeps_the_tags_and_new_tags_the_password() {
    let broker = ScriptedBroker::start();
    broker.answers("GET /api/users/u1", 200, U1);
    broker.answers("PUT /api/users/u1", 204, "");
    let user = "PUT /api/users/u1";
    broker.asks(
        &["change_password", "u1", "new"],
        &[(user, json!({"password": "new", "tags": "management"}))],
    );
    broker.asks(
        &["clear_password", "u1"],
        &[(user, json!({"password_hash": "", "tags": "management"}))],
    );
    broker.asks(
        &["set_user_tags", "u1", "a", "b"],
        &[(
            user,
            json!({
                "password_hash": "aGFzaA==",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "a,b",
            }),
        )],
    );
    broker.fails(
        &["set_user_tags", "nobody", "x"],
        67,
        "Error:\nUser \"nobody\" does not exist\n",
    );
}

#[test]
fn passwords_are_checked() {
    let broker = ScriptedBroker::start();
    let authenticate = "POST /api/leveret/authenticate";
    broker.answers(authenticate, 200, r#"{"ok":true}"#);
    broker.prints(
        &["authenticate_user", "u", "p"],
        "Authenticating user \"u\" ...\nSuccess\n",
    );
    assert_eq!(
        broker.asked(),
        [(
            authenticate.to_owned(),
            json!({"username": "u", "password": "p"})
        )]
    );
    broker.answers(
        authenticate,
        200,
        r#"{"ok":false,"reason":"invalid credentials"}"#,
    );
    broker.fails(
        &["authenticate_user", "u", "p"],
        65,
        "Error:\nError: failed to authenticate user \"u\"\nuser 'u' - invalid credentials\n",
    );
}

#[test]
fn permissions_tell_who_is_missing() {
    let broker = ScriptedBroker::start();
    let permissions = "PUT /api/permissions/%2F/u1";
    let body = json!({"configure": ".*", "write": "", "read": "^a$"});
    broker.answers(permissions, 204, "");
    let command = ["set_permissions", "u1", ".*", "", "^a$"];
    broker.asks(&command, &[(permissions, body)]);

    broker.answers(
        permissions,
        400,
        r#"{"error":"bad_request","reason":"vhost_or_user_not_found"}"#,
    );
    broker.fails(&command, 67, "Error:\nUser u1 does not exist\n");
    broker.answers("GET /api/users/u1", 200, U1);
    broker.fails(&command, 69, "Error:\nVirtual host / does not exist\n");
    broker.answers("GET /api/vhosts/%2F", 200, "{}");
    broker.fails(&command, 69, "Error:\nvhost_or_user_not_found\n");
}

#[test]
fn what_is_not_there_to_be_cleared_is_no_error() {
    let broker = ScriptedBroker::start();
    broker.answers("GET /api/users/u1", 200, U1);
    broker.answers("GET /api/vhosts/v", 200, "{}");
    broker.prints(
        &["clear_permissions", "-p", "v", "u1"],
        "Clearing permissions for user \"u1\" in vhost \"v\" ...\n",
    );
}

#[test]
fn virtual_hosts_keep_what_is_not_changed() {
    let broker = ScriptedBroker::start();
    let vhost = r#"{"name":"v","description":"d","tags":["a"],"tracing":false,"default_queue_type":"quorum"}"#;
    broker.answers("GET /api/vhosts/v", 200, vhost);
    broker.answers("PUT /api/vhosts/v", 204, "");
    let change = |tags: &str, tracing: bool| {
        let body = json!({"description": "d", "tags": tags, "tracing": tracing, "default_queue_type": "quorum"});
        [("PUT /api/vhosts/v", body)]
    };
    broker.asks(&["trace_on", "-p", "v"], &change("a", true));
    broker.asks(&["set_vhost_tags", "v", "x", "y"], &change("x,y", false));
    // RabbitMQ leaves alone the one that is there.
    broker.asks(&["add_vhost", "v"], &[]);
    broker.fails(
        &["trace_on", "-p", "w"],
        65,
        "Virtual host 'w' does not exist\n",
    );
    broker.fails(
        &["delete_vhost", "w"],
        65,
        "Virtual host 'w' does not exist\n",
    );
}

#[test]
fn policies_are_set_and_listed() {
    let broker = ScriptedBroker::start();
    let policy = "PUT /api/policies/%2F/p";
    broker.answers(policy, 201, "");
    let command = [
        "set_policy",
        "p",
        "^q",
        r#"{"max-length":5}"#,
        "--priority",
        "3",
        "--apply-to",
        "queues",
    ];
    let body = json!({"pattern": "^q", "definition": {"max-length": 5}, "priority": 3, "apply-to": "queues"});
    broker.asks(&command, &[(policy, body)]);
    broker.answers(
        policy,
        400,
        r#"{"error":"bad_request","reason":"Validation failed\n\n&lt;&lt;\"a\"&gt;&gt; is not a valid maximum length\n"}"#,
    );
    broker.fails(
        &command,
        69,
        "Error:\nValidation failed\n\n<<\"a\">> is not a valid maximum length\n\n",
    );
    broker.answers(
        "GET /api/policies/%2F",
        200,
        r#"[{"vhost":"/","name":"p","pattern":"^q","apply-to":"queues","definition":{"max-length":5},"priority":3}]"#,
    );
    broker.prints(
        &["list_policies"],
        "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
         /\tp\t^q\tqueues\t{\"max-length\":5}\t3\n",
    );
    broker.fails(
        &["clear_policy", "q"],
        69,
        "Error:\nParameter does not exist\n",
    );
    broker.fails(
        &["list_policies", "-p", "w"],
        65,
        "Virtual host 'w' does not exist\n",
    );
}

#[test]
fn limits_that_are_not_named_go() {
    let broker = ScriptedBroker::start();
    broker.answers("GET /api/vhosts/%2F", 200, "{}");
    broker.answers(
        "GET /api/vhost-limits/%2F",
        200,
        r#"[{"vhost":"/","value":{"max-queues":1,"max-connections":2}}]"#,
    );
    broker.answers("PUT /api/vhost-limits/%2F/max-queues", 204, "");
    broker.answers("DELETE /api/vhost-limits/%2F/max-connections", 204, "");
    broker.asks(
        &["set_vhost_limits", r#"{"max-queues":9}"#],
        &[
            ("PUT /api/vhost-limits/%2F/max-queues", json!({"value": 9})),
            ("DELETE /api/vhost-limits/%2F/max-connections", json!(null)),
        ],
    );
    broker.prints(
        &["list_vhost_limits"],
        "Listing limits for vhost \"/\" ...\n{\"max-connections\":2,\"max-queues\":1}\n",
    );
    broker.answers("GET /api/users/u1", 200, U1);
    broker.prints(
        &["list_user_limits", "--user", "u1"],
        "Listing limits for user \"u1\" ...\n{}\n",
    );
}

#[test]
fn queues_are_deleted_with_what_is_in_them() {
    let broker = ScriptedBroker::start();
    broker.fails(&["delete_queue", "q"], 64, "Error:\nQueue not found\n");
    broker.fails(&["purge_queue", "q"], 69, "Error:\nnot_found\n");
    broker.answers(
        "GET /api/queues/%2F/q?columns=messages_ready",
        200,
        r#"{"messages_ready":3}"#,
    );
    broker.answers("DELETE /api/queues/%2F/q", 204, "");
    broker.prints(
        &["delete_queue", "q"],
        "Deleting queue 'q' on vhost '/' ...\nQueue was successfully deleted with 3 ready messages\n",
    );
    broker.answers(
        "DELETE /api/queues/%2F/q?if-empty=true",
        400,
        r#"{"error":"bad_request","reason":"406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"}"#,
    );
    broker.fails(
        &["delete_queue", "q", "-e"],
        64,
        "Error:\nQueue is not empty\n",
    );
}

#[test]
fn connections_are_closed_one_by_one_or_all_at_once() {
    let broker = ScriptedBroker::start();
    let one = "DELETE /api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A2";
    broker.answers(one, 204, "");
    broker.asks(
        &["close_connection", "127.0.0.1:1 -> 127.0.0.1:2", "why"],
        &[(one, json!(null))],
    );
    broker.fails(
        &["close_connection", "gone", "why"],
        69,
        "Error:\nConnection gone was not found\n",
    );
    // A process that is gone is closed.
    broker.answers("GET /api/connections?columns=name,pid", 200, "[]");
    broker.asked();
    broker.asks(&["close_connection", "<n@h.1.2.0>", "why"], &[]);

    let all = "POST /api/leveret/close-connections";
    broker.answers(all, 200, r#"{"closed":2}"#);
    broker.prints(
        &["close_all_connections", "-p", "v", "why"],
        "Closing all connections in vhost v, reason: why...\nClosed 2 connections\n",
    );
    let body = json!({"user": null, "vhost": "v", "reason": "why"});
    assert_eq!(broker.asked(), [(all.to_owned(), body)]);
}

#[test]
fn limited_closing_stays_in_its_virtual_host() {
    let broker = ScriptedBroker::start();
    broker.answers(
        "GET /api/connections?columns=name,vhost",
        200,
        r#"[{"name":"a","vhost":"w"},{"name":"b","vhost":"v"},{"name":"c","vhost":"v"}]"#,
    );
    broker.answers("DELETE /api/connections/b", 204, "");
    broker.asks(
        &["close_all_connections", "-p", "v", "--limit", "1", "why"],
        &[("DELETE /api/connections/b", json!(null))],
    );
}

#[test]
fn definitions_go_to_files_and_come_from_them() {
    let broker = ScriptedBroker::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("defs.json");
    let file = file.to_str().unwrap();
    broker.answers("GET /api/definitions", 200, r#"{"users":[]}"#);
    broker.answers("POST /api/definitions", 204, "");
    broker.prints(&["export_definitions", "-"], "{\"users\":[]}\n");
    for _ in 0..2 {
        let run = broker.run(&["export_definitions", file]);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), r#"{"users":[]}"#);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let imported = [("POST /api/definitions", json!({"users": []}))];
    broker.asks(&["import_definitions", file], &imported);

    std::fs::write(file, "{").unwrap();
    let run = broker.run(&["import_definitions", file]);
    assert_eq!(run.code, 65);
    assert!(run.err.contains("Failed to deserialise input"), "{run:?}");
    let run = broker.run(&["import_definitions", "/nonexistent/defs.json"]);
    assert_eq!(run.code, 65);
    assert!(
        run.err
            .contains("File /nonexistent/defs.json does not exist")
    );
}

#[test]
fn a_message_is_peeked_at_by_its_place() {
    let broker = ScriptedBroker::start();
    let q = "/api/queues/%2F/q";
    let message = r#"{"messages":[{"payload":"third","state":"ready"}],"next":null,"searched":1}"#;
    let before = r#"{"messages":[{},{}],"next":"r0.2.2","searched":2}"#;
    let first = format!("GET {q}/browse?count=2&truncate=0&after=");
    broker.answers(&first, 200, before);
    let third = format!("GET {q}/browse?count=1&truncate=1048576&after=r0.2.2");
    broker.answers(&third, 200, message);
    let run = broker.run(&["-q", "peek", "q", "3"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("payload\tthird"), "{}", run.out);
    broker.answers(&third, 200, r#"{"messages":[],"next":null,"searched":0}"#);
    broker.fails(
        &["-q", "peek", "q", "3"],
        69,
        "Error:\nQueue 'q' has no message at position 3\n",
    );
}

#[test]
fn messages_are_moved_back_or_elsewhere() {
    let broker = ScriptedBroker::start();
    let redrive = "POST /api/queues/%2F/dead/redrive";
    broker.answers(redrive, 200, r#"{"moved":3,"skipped":0}"#);
    broker.prints(
        &["redrive", "dead"],
        "Moving messages of queue 'dead' in vhost '/' ...\n3 moved\n",
    );
    let back = json!({"count": null, "search": null, "to": "origin"});
    assert_eq!(broker.asked(), [(redrive.to_owned(), back)]);
    broker.answers(redrive, 200, r#"{"moved":1,"skipped":2}"#);
    broker.prints(
        &[
            "-q",
            "redrive",
            "dead",
            "--routing-key",
            "q",
            "--search",
            "x",
            "--limit",
            "5",
        ],
        "1 moved, 2 left: nobody would take them\n",
    );
    let to = json!({"exchange": "", "routing_key": "q"});
    let elsewhere = json!({"count": 5, "search": "x", "to": to});
    assert_eq!(broker.asked(), [(redrive.to_owned(), elsewhere)]);
}

#[test]
fn messages_are_moved_at_a_rate_or_only_counted() {
    let broker = ScriptedBroker::start();
    let redrive = "POST /api/queues/%2F/dead/redrive";
    broker.answers(redrive, 200, r#"{"moved":7,"skipped":1}"#);
    broker.prints(
        &["-q", "redrive", "dead", "--dry-run"],
        "7 would be moved, 1 left: nobody would take them\n",
    );
    let trial = json!({"count": null, "search": null, "to": "origin", "dry_run": true});
    assert_eq!(broker.asked(), [(redrive.to_owned(), trial)]);
    broker.answers(redrive, 200, r#"{"moved":3,"skipped":0,"more":false}"#);
    broker.prints(&["-q", "redrive", "dead", "--rate", "5"], "3 moved\n");
    let paced = json!({"count": null, "search": null, "to": "origin", "rate": 5});
    assert_eq!(broker.asked(), [(redrive.to_owned(), paced)]);
}
