//! `/definitions`, and files that the configuration names.

use leveret::{Broker, Config};
use serde_json::{Value, json};

use crate::asking::{ask, expect};
use crate::support::{HttpClient, TestBroker};

/// One of each.
fn file() -> Value {
    json!({
        "rabbit_version": "3.13.7",
        "something_else": 1,
        "users": [
            {
                "name": "alice", "tags": ["monitoring"], "limits": {"max-channels": 9},
                "password_hash": "4tquDwlX1IynbIiprfUlpKY7xWSX/BXZ4OiuYyaquYOxdxpS",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
            },
            {"name": "guest", "tags": "administrator", "password": "guest"},
        ],
        "vhosts": [
            {"name": "/"},
            {"name": "v", "metadata": {"description": "d", "tags": ["t"]}, "limits": []},
        ],
        "permissions": [
            {"user": "alice", "vhost": "v", "configure": "", "write": "^w", "read": ".*"},
            {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
        ],
        "topic_permissions": [
            {"user": "alice", "vhost": "v", "exchange": "x", "write": "a", "read": "b"},
        ],
        "parameters": [
            {
                "component": "operator_policy", "vhost": "v", "name": "o",
                "value": {
                    "pattern": "q", "definition": {"max-length": 3}, "priority": 0,
                    "apply-to": "all",
                },
            },
            {"component": "shovel", "vhost": "v", "name": "s", "value": {"a": [1, null]}},
            {"component": "vhost-limits", "vhost": "v", "name": "limits", "value": {"max-queues": 5}},
        ],
        "global_parameters": [
            {"name": "cluster_name", "value": "mine"},
            {"name": "internal_cluster_id", "value": "somebody's"},
        ],
        "policies": [{
            "vhost": "v", "name": "p", "pattern": "q", "apply-to": "queues", "priority": 1,
            "definition": {"message-ttl": 1000},
        }],
        "queues": [
            {
                "name": "q", "vhost": "v", "durable": true, "auto_delete": false,
                "arguments": {"x-max-length": 10}, "type": "classic",
            },
            {"name": "t", "vhost": "v", "durable": false, "auto_delete": true, "arguments": {}},
            {
                "name": "u", "vhost": "v", "durable": true, "auto_delete": false,
                "arguments": {"x-queue-type": "quorum"}, "type": "quorum",
            },
        ],
        "exchanges": [{
            "name": "x", "vhost": "v", "type": "topic", "durable": true, "auto_delete": false,
            "internal": true, "arguments": {"alternate-exchange": "amq.fanout"},
        }],
        "bindings": [
            {
                "source": "amq.topic", "vhost": "v", "destination": "x",
                "destination_type": "exchange", "routing_key": "#", "arguments": {},
            },
            {
                "source": "x", "vhost": "v", "destination": "q", "destination_type": "queue",
                "routing_key": "k", "arguments": {"a": 1},
            },
        ],
    })
}

/// Without what every broker says of itself, and with types and defaults filled in.
fn normal(mut file: Value) -> Value {
    let members = file.as_object_mut().unwrap();
    members.retain(|name, _| {
        let said = ["version", "product", "format", "original", "something"];
        !said.iter().any(|word| name.contains(word))
    });
    for queue in file["queues"].as_array_mut().unwrap() {
        queue
            .as_object_mut()
            .unwrap()
            .entry("type")
            .or_insert(json!("classic"));
    }
    let globals = file["global_parameters"].as_array_mut().unwrap();
    globals.retain(|global| global["name"] != "internal_cluster_id");
    for user in file["users"].as_array_mut().unwrap() {
        let user = user.as_object_mut().unwrap();
        if user["name"] == "guest" {
            user.retain(|name, _| name == "name");
        }
    }
    for vhost in file["vhosts"].as_array_mut().unwrap() {
        let vhost = vhost.as_object_mut().unwrap();
        vhost.retain(|name, _| name == "name");
    }
    file
}

#[track_caller]
fn import(http: &HttpClient, path: &str, file: &Value) {
    let reply = http.post(path, file);
    assert_eq!(reply.status, 204, "{}", reply.text());
}

#[test]
fn what_is_imported_is_exported() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    import(&http, "/definitions", &file());
    let exported = http.get("/definitions");
    assert_eq!(normal(exported.clone()), normal(file()));
    let vhost = &exported["vhosts"][1];
    assert_eq!(
        (&vhost["description"], &vhost["tags"]),
        (&json!("d"), &json!(["t"]))
    );
    assert_eq!(exported["rabbitmq_definition_format"], "cluster");
    // Into another broker, and out again.
    let other = TestBroker::with_management();
    import(&other.http(), "/definitions", &exported);
    let again = other.http().get("/definitions");
    assert_eq!(normal(again), normal(exported));
}

#[test]
fn a_trial_says_what_would_change_and_changes_nothing() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let before = http.get("/definitions");
    let trial = http.post("/definitions?dry_run=true", &file()).json();
    let changes: Vec<_> = trial["changes"].as_array().unwrap().clone();
    for change in [
        "add user 'alice'",
        "add vhost 'v'",
        "add queue 'q' in vhost 'v'",
        "add binding from exchange 'x' to queue 'q' with key 'k' in vhost 'v'",
        "add policy 'p' in vhost 'v'",
    ] {
        assert!(changes.contains(&json!(change)), "{change}: {changes:?}");
    }
    let remark = "definitions: 'something_else' is not known and was left out";
    assert_eq!(trial["remarks"], json!([remark]));
    assert_eq!(http.get("/definitions"), before);
    import(&http, "/definitions", &file());
    let trial = http.post("/definitions?dry_run=true", &file()).json();
    assert_eq!(trial["changes"], json!([]), "it is all there");
}

#[test]
fn what_is_there_is_kept_and_what_a_file_says_of_it_is_remarked() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(&http, &[(r#"PUT /queues/%2F/q {"durable":false}"#, 201)]);
    let file = json!({"queues": [
        {"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}},
    ]});
    let trial = http.post("/definitions?dry_run=true", &file).json();
    let remark = "queue 'q' in vhost '/' is there with other properties, and was kept";
    assert_eq!(trial, json!({"changes": [], "remarks": [remark]}));
    import(&http, "/definitions", &file);
    assert_eq!(http.get("/definitions")["queues"][0]["durable"], false);
}

#[test]
fn one_virtual_host_is_moved_into_another() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    import(&http, "/definitions", &file());
    let exported = http.get("/definitions/v");
    assert_eq!(
        exported["rabbitmq_definition_format"],
        "single_virtual_host"
    );
    for section in ["users", "vhosts", "permissions", "global_parameters"] {
        assert!(exported.get(section).is_none(), "{section}");
    }
    assert!(exported["queues"][0].get("vhost").is_none());
    expect(&http, &[("PUT /vhosts/w", 201)]);
    import(&http, "/definitions/w", &exported);
    let mut moved = http.get("/definitions/w");
    for name in ["original_vhost_name", "metadata", "description"] {
        moved[name] = exported[name].clone();
    }
    assert_eq!(moved, exported);
    assert_eq!(http.post("/definitions/none", &exported).status, 404);
}

#[test]
fn what_cannot_be_is_named_and_the_rest_is_set() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let file = json!({
        "queues": [
            {"name": "a", "vhost": "none", "durable": true, "arguments": {}},
            {"name": "b", "vhost": "/", "durable": true, "arguments": {}},
        ],
        "permissions": [
            {"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""},
        ],
    });
    let reply = http.post("/definitions", &file);
    assert_eq!(reply.status, 400);
    let reason = reply.json()["reason"].as_str().unwrap().to_owned();
    for part in [
        "permissions of user 'nobody'",
        "queue 'a' in vhost 'none': no_such_vhost",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(http.get("/definitions")["queues"][0]["name"], "b");
}

#[test]
fn a_file_that_is_misshapen_changes_nothing() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for (file, reason) in [
        (json!([]), "failed_to_parse_json"),
        (json!({"users": {}}), "users is no list"),
        (json!({"queues": [1]}), "queues[0] is no object"),
        (
            json!({"queues": [{"name": "q", "vhost": "/"}], "users": [{"name": "x"}]}),
            "users[0]: tags_not_present",
        ),
    ] {
        let reply = http.post("/definitions", &file);
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["reason"], reason);
    }
    assert_eq!(http.get("/definitions")["queues"], json!([]));
}

#[test]
fn files_of_lavinmq_are_understood() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let file = json!({
        "lavinmq_version": "2.0.0",
        "users": [{
            "name": "lim", "tags": "administrator", "hashing_algorithm": "SHA256",
            "password_hash": "4tquDwlX1IynbIiprfUlpKY7xWSX/BXZ4OiuYyaquYOxdxpS",
        }],
        "vhosts": [{"name": "/"}],
        "queues": [{
            "name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {},
        }],
    });
    import(&http, "/definitions", &file);
    assert_eq!(http.user("lim", "lim").get("/whoami")["name"], "lim");
}

#[test]
fn definitions_are_for_administrators() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /users/o {"tags":"monitoring","password":"o"}"#;
    expect(&http, &[(put, 201)]);
    let user = http.user("o", "o");
    for request in [
        "GET /definitions",
        "GET /definitions/%2F",
        "POST /definitions {}",
    ] {
        assert_eq!(ask(&user, request).status, 401, "{request}");
    }
}

#[test]
fn a_broker_starts_with_the_definitions_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    std::fs::write(&path, file().to_string()).unwrap();
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.load_definitions = Some(directory.path().to_owned());
    });
    let exported = broker.http().get("/definitions");
    assert_eq!(normal(exported), normal(file()));
}

#[test]
fn nobody_is_there_but_whom_the_definitions_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    let file = json!({
        "users": [{"name": "alice", "password": "alice", "tags": "administrator"}],
        "vhosts": [{"name": "v"}],
    });
    std::fs::write(&path, file.to_string()).unwrap();
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.load_definitions = Some(path.clone());
    });
    assert_eq!(ask(&broker.http(), "GET /whoami").status, 401);
    let alice = broker.http().user("alice", "alice");
    assert_eq!(alice.get("/users?columns=name"), json!([{"name": "alice"}]));
    assert_eq!(alice.get("/vhosts?columns=name"), json!([{"name": "v"}]));
}

#[test]
fn a_broker_does_not_start_with_definitions_that_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    std::fs::write(&path, r#"{"users":[{"name":"x"}]}"#).unwrap();
    let config = Config {
        bind: vec!["127.0.0.1".to_owned()],
        port: 0,
        load_definitions: Some(path.clone()),
        ..Config::default()
    };
    let error = Broker::start(config).err().unwrap().to_string();
    let expected = format!(
        "definitions in {}: users[0]: tags_not_present",
        path.display()
    );
    assert_eq!(error, expected);
}

/// As a browser sends a form with a file.
fn upload(http: &HttpClient, path: &str, parts: &[(&str, &str)]) -> (u16, Option<String>) {
    let mut body = String::new();
    for (name, content) in parts {
        body +=
            &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
    }
    body += "--b--\r\n";
    let request = format!(
        "POST /api{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = http.exchange(request.as_bytes());
    (reply.status, reply.header("location").map(str::to_owned))
}

#[test]
fn a_form_brings_a_file_and_says_where_to_go_on() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let text = json!({"vhosts": [{"name": "formed"}]}).to_string();
    let file = ("file", text.as_str());
    assert_eq!(upload(&http, "/definitions", &[file]), (204, None));
    assert_eq!(http.get("/vhosts/formed")["name"], "formed");
    for (place, expected) in [
        ("../#/import-succeeded", Some("../#/import-succeeded")),
        ("https://elsewhere", None),
        ("//elsewhere", None),
        ("/\\elsewhere", None),
        ("a\r\nb: c", None),
    ] {
        let answer = upload(&http, "/definitions", &[file, ("redirect", place)]);
        let status = if expected.is_some() { 303 } else { 204 };
        assert_eq!(answer, (status, expected.map(str::to_owned)), "{place:?}");
    }
    assert_eq!(upload(&http, "/definitions", &[("x", "1")]), (400, None));
}
