//! `/vhosts` and `/vhost-limits`.

use serde_json::json;

use crate::asking::{expect, refuse};
use crate::support::TestBroker;

#[test]
fn virtual_hosts_come_change_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            ("PUT /vhosts/test", 201),
            (
                r#"PUT /vhosts/test {"description":"d","tags":"a,b","default_queue_type":"quorum"}"#,
                204,
            ),
            (r#"PUT /vhosts/test {"tracing":true}"#, 204),
        ],
    );
    let test = http.get("/vhosts/test");
    assert_eq!(test["description"], "d", "what is left out stays");
    assert_eq!(test["tags"], json!(["a", "b"]));
    assert_eq!(test["default_queue_type"], "quorum");
    assert_eq!(test["tracing"], true);
    assert_eq!(test["metadata"]["description"], "d");
    let names = http.get("/vhosts?columns=name");
    assert_eq!(names, json!([{"name": "/"}, {"name": "test"}]));
    let permissions = http.get("/vhosts/test/permissions");
    assert_eq!(permissions[0]["user"], "guest", "who made it may use it");
    expect(
        &http,
        &[("DELETE /vhosts/test", 204), ("GET /vhosts/test", 404)],
    );
}

#[test]
fn what_makes_no_virtual_host_is_refused() {
    let broker = TestBroker::with_management();
    refuse(
        &broker.http(),
        &[
            (
                r#"PUT /vhosts/a {"tracing":"yes"}"#,
                400,
                r#"["not_boolean","yes"]"#,
            ),
            (
                r#"PUT /vhosts/a {"default_queue_type":"foo"}"#,
                400,
                "Unsupported default queue type: foo",
            ),
            ("GET /vhosts/a", 404, "Not Found"),
            ("DELETE /vhosts/a", 404, "Not Found"),
            (
                "POST /vhosts/%2F/start/elsewhere",
                400,
                "Request to node elsewhere failed with nodedown",
            ),
        ],
    );
}

#[test]
fn a_protected_virtual_host_stays() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[
            ("PUT /vhosts/test", 201),
            ("POST /vhosts/test/deletion/protection", 204),
            ("DELETE /vhosts/test", 412),
            ("DELETE /vhosts/test/deletion/protection", 204),
            ("DELETE /vhosts/test", 204),
        ],
    );
}

#[test]
fn limits_of_virtual_hosts_are_parameters_too() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    expect(
        &http,
        &[(r#"PUT /vhost-limits/%2F/max-queues {"value":10}"#, 204)],
    );
    let value = json!({"max-queues": 10});
    let limits = json!([{"vhost": "/", "value": value}]);
    assert_eq!(http.get("/vhost-limits"), limits);
    assert_eq!(http.get("/vhost-limits/%2F"), limits);
    let parameter = http.get("/parameters/vhost-limits/%2F/limits");
    assert_eq!(parameter["value"], value);
    expect(
        &http,
        &[
            ("DELETE /vhost-limits/%2F/max-queues", 204),
            ("GET /parameters/vhost-limits/%2F/limits", 404),
        ],
    );
    refuse(
        &http,
        &[
            (
                r#"PUT /vhost-limits/%2F/max-queues {"value":"a"}"#,
                400,
                "Validation failed\n\nmax-queues should be a number, actually was <<\"a\">>\n",
            ),
            (
                r#"PUT /vhost-limits/none/max-queues {"value":1}"#,
                404,
                "vhost_not_found",
            ),
        ],
    );
}

#[test]
fn users_see_the_virtual_hosts_that_they_have_permissions_for() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_vhost("other");
    expect(
        &http,
        &[(r#"PUT /users/m {"tags":"management","password":"m"}"#, 201)],
    );
    broker.permit("m", "/", ["", "", ""]);
    let user = http.user("m", "m");
    assert_eq!(user.get("/vhosts?columns=name"), json!([{"name": "/"}]));
    refuse(
        &user,
        &[
            (
                "GET /vhosts/other",
                401,
                "User not authorised to access virtual host",
            ),
            ("PUT /vhosts/new", 401, "Not administrator user"),
            ("DELETE /vhosts/%2F", 401, "Not administrator user"),
        ],
    );
}
