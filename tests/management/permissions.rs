//! `/permissions` and `/topic-permissions`.

use serde_json::json;

use crate::asking::{ask, expect, refuse};
use crate::support::TestBroker;

#[test]
fn permissions_come_change_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("one");
    let put = r#"PUT /permissions/%2F/one {"configure":"a","write":"b","read":"c"}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    let one = json!({
        "user": "one", "vhost": "/", "configure": "a", "write": "b", "read": "c",
    });
    assert_eq!(http.get("/permissions/%2F/one"), one);
    assert_eq!(http.get("/users/one/permissions"), json!([one]));
    assert_eq!(http.get("/permissions").as_array().unwrap().len(), 2);
    assert_eq!(http.get("/vhosts/%2F/permissions")[1], one);
    expect(
        &http,
        &[
            ("DELETE /permissions/%2F/one", 204),
            ("DELETE /permissions/%2F/one", 404),
            ("GET /permissions/%2F/one", 404),
        ],
    );
}

#[test]
fn topic_permissions_come_and_go_by_exchange() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("one");
    let put = r#"PUT /topic-permissions/%2F/one {"exchange":"amq.topic","write":"b","read":"c"}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    let one = json!([{
        "user": "one", "vhost": "/", "exchange": "amq.topic", "write": "b", "read": "c",
    }]);
    for path in [
        "/topic-permissions",
        "/topic-permissions/%2F/one",
        "/users/one/topic-permissions",
        "/vhosts/%2F/topic-permissions",
    ] {
        assert_eq!(http.get(path), one, "{path}");
    }
    expect(
        &http,
        &[
            ("DELETE /topic-permissions/%2F/one/other", 404),
            ("DELETE /topic-permissions/%2F/one/amq.topic", 204),
            ("GET /topic-permissions/%2F/one", 404),
        ],
    );
}

#[test]
fn what_makes_no_permissions_is_refused() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    refuse(
        &http,
        &[
            (
                r#"PUT /permissions/%2F/guest {"configure":"a","write":"b"}"#,
                400,
                "[{key_missing,read}]",
            ),
            (
                r#"PUT /permissions/%2F/nobody {"configure":"","write":"","read":""}"#,
                400,
                "vhost_or_user_not_found",
            ),
            (
                r#"PUT /permissions/none/guest {"configure":"","write":"","read":""}"#,
                400,
                "vhost_or_user_not_found",
            ),
            ("GET /users/nobody/permissions", 404, "Not Found"),
        ],
    );
    let bad = r#"PUT /permissions/%2F/guest {"configure":"(","write":"","read":""}"#;
    let reply = ask(&http, bad);
    assert_eq!(reply.status, 400);
    let reason = reply.json()["reason"].to_string();
    assert!(reason.contains("Invalid regular expression"), "{reason}");
    assert_eq!(http.get("/permissions/%2F/guest")["configure"], ".*");
}
