//! `/users`, `/user-limits`, `/auth`.

use serde_json::json;

use crate::asking::{ask, expect, refuse};
use crate::support::TestBroker;

#[test]
fn users_come_change_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            (
                r#"PUT /users/alice {"tags":"monitoring, own","password":"one"}"#,
                201,
            ),
            (
                r#"PUT /users/alice {"tags":["policymaker"],"password":"two"}"#,
                204,
            ),
        ],
    );
    let alice = http.get("/users/alice");
    assert_eq!(alice["name"], "alice");
    assert_eq!(alice["tags"], json!(["policymaker"]));
    assert_eq!(alice["limits"], json!({}));
    assert_eq!(alice["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let whoami = http.user("alice", "two").get("/whoami");
    assert_eq!(whoami["name"], "alice");
    let names = http.get("/users?columns=name");
    assert_eq!(names, json!([{"name": "alice"}, {"name": "guest"}]));
    expect(
        &http,
        &[("DELETE /users/alice", 204), ("DELETE /users/alice", 404)],
    );
}

#[test]
fn a_hash_takes_the_place_of_a_password() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let hash = http.get("/auth/hash_password/secret");
    let hash = hash["ok"].as_str().unwrap();
    let body = json!({"tags": "management", "password_hash": hash});
    assert_eq!(http.put("/users/bob", &body).status, 201);
    assert_eq!(http.get("/users/bob")["password_hash"], hash);
    assert_eq!(http.user("bob", "secret").get("/whoami")["name"], "bob");
    // Without a password nobody comes in.
    let none = json!({"tags": "management", "password_hash": ""});
    assert_eq!(http.put("/users/bob", &none).status, 204);
    let reply = http.user("bob", "").request("GET", "/whoami", &[], None);
    assert_eq!(reply.status, 401);
}

#[test]
fn what_makes_no_user_is_refused_in_rabbitmqs_words() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    refuse(
        &http,
        &[
            (r#"PUT /users/a {"password":"x"}"#, 400, "tags_not_present"),
            (
                r#"PUT /users/a {"tags":"","password_hash":"zzz"}"#,
                400,
                r#"["not_base64","zzz"]"#,
            ),
            (
                r#"PUT /users/a {"tags":"","password":"x","password_hash":"eA=="}"#,
                400,
                "both_password_and_password_hash_are_provided",
            ),
            ("PUT /users/a [1]", 400, "not_json"),
            ("GET /users/a", 404, "Not Found"),
            ("POST /users/bulk-delete {}", 400, "[{key_missing,users}]"),
            (
                r#"POST /users/bulk-delete {"users":["nobody"]}"#,
                400,
                r#"["no_such_user","nobody"]"#,
            ),
        ],
    );
}

#[test]
fn users_without_permissions_are_found_and_deleted_in_bulk() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("one");
    broker.add_user("two");
    broker.permit("two", "/", ["", "", ""]);
    let without = http.get("/users/without-permissions?columns=name");
    assert_eq!(without, json!([{"name": "one"}]));
    let both = r#"POST /users/bulk-delete {"users":["one","two"]}"#;
    expect(&http, &[(both, 204), ("GET /users/two", 404)]);
}

#[test]
fn limits_of_users_are_set_one_by_one() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("one");
    expect(
        &http,
        &[
            (r#"PUT /user-limits/one/max-connections {"value":10}"#, 204),
            (r#"PUT /user-limits/one/max-channels {"value":-1}"#, 204),
            ("DELETE /user-limits/one/max-connections", 204),
        ],
    );
    let limits = json!([{"user": "one", "value": {"max-channels": -1}}]);
    assert_eq!(http.get("/user-limits"), limits);
    assert_eq!(http.get("/user-limits/one"), limits);
    assert_eq!(http.get("/user-limits/guest"), json!([]));
    refuse(
        &http,
        &[
            (
                r#"PUT /user-limits/one/max-foo {"value":1}"#,
                400,
                r#"Unrecognised terms [{<<"max-foo">>,1}] in user-limits"#,
            ),
            (
                r#"PUT /user-limits/nobody/max-channels {"value":1}"#,
                400,
                r#"["no_such_user","nobody"]"#,
            ),
        ],
    );
}

#[test]
fn only_administrators_see_and_change_users() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for (name, tag) in [
        ("m", "management"),
        ("p", "policymaker"),
        ("o", "monitoring"),
    ] {
        let body = json!({"tags": tag, "password": name});
        assert_eq!(http.put(&format!("/users/{name}"), &body).status, 201);
        refuse(
            &http.user(name, name),
            &[
                ("GET /users", 401, "Not administrator user"),
                ("GET /users/guest", 401, "Not administrator user"),
                (
                    r#"PUT /users/x {"tags":"administrator","password":"x"}"#,
                    401,
                    "Not administrator user",
                ),
                ("DELETE /users/guest", 401, "Not administrator user"),
                ("GET /permissions", 401, "Not administrator user"),
                (
                    r#"PUT /user-limits/guest/max-channels {"value":1}"#,
                    401,
                    "Not administrator user",
                ),
            ],
        );
    }
}

#[test]
fn logins_are_counted_by_where_they_come_from() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let nobody = http.user("guest", "wrong");
    assert_eq!(ask(&nobody, "GET /whoami").status, 401);
    let counts = http.get("/auth/attempts/rabbit@localhost");
    assert_eq!(counts[0]["auth_attempts_failed"], 1);
    let by_source = http.get("/auth/attempts/rabbit@localhost/source");
    assert_eq!(by_source[0]["remote_address"], "127.0.0.1");
    expect(&http, &[("DELETE /auth/attempts/rabbit@localhost", 204)]);
    let counts = http.get("/auth/attempts/rabbit@localhost");
    assert_eq!(counts[0]["auth_attempts_failed"], 0);
}
