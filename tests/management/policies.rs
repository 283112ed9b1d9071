//! Policies and parameters.

use serde_json::json;

use crate::asking::{expect, refuse};
use crate::support::TestBroker;

#[test]
fn policies_come_change_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for (path, component) in [
        ("policies", None),
        ("operator-policies", Some("operator_policy")),
    ] {
        let put = format!(
            r#"PUT /{path}/%2F/p {{"pattern":"^q","definition":{{"max-length":10}},"priority":1,"apply-to":"queues"}}"#
        );
        expect(&http, &[(&put, 201), (&put, 204)]);
        let policy = json!({
            "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues",
            "definition": {"max-length": 10}, "priority": 1,
        });
        assert_eq!(http.get(&format!("/{path}/%2F/p")), policy);
        assert_eq!(http.get(&format!("/{path}/%2F")), json!([policy]));
        assert_eq!(http.get(&format!("/{path}")), json!([policy]));
        if let Some(component) = component {
            let parameter = http.get(&format!("/parameters/{component}/%2F/p"));
            assert_eq!(parameter["value"]["definition"], json!({"max-length": 10}));
        }
        let delete = format!("DELETE /{path}/%2F/p");
        expect(&http, &[(&delete, 204), (&delete, 404)]);
    }
}

#[test]
fn what_makes_no_policy_is_refused_in_rabbitmqs_words() {
    let broker = TestBroker::with_management();
    refuse(
        &broker.http(),
        &[
            (
                r#"PUT /policies/%2F/p {"pattern":"a"}"#,
                400,
                "[{key_missing,definition}]",
            ),
            (
                r#"PUT /policies/%2F/p {"pattern":"a","definition":{}}"#,
                400,
                "Validation failed\n\nno policy provided\n",
            ),
            (
                r#"PUT /policies/%2F/p {"pattern":"a","definition":{"max-length":"b"}}"#,
                400,
                "Validation failed\n\n<<\"b\">> is not a valid maximum length\n",
            ),
            (
                r#"PUT /policies/%2F/p {"pattern":"a","definition":{"max-length":1},"priority":"a"}"#,
                400,
                "Validation failed\n\npriority should be a number, actually was <<\"a\">>\n",
            ),
            (
                r#"PUT /policies/none/p {"pattern":"a","definition":{"max-length":1}}"#,
                404,
                "vhost_not_found",
            ),
            ("GET /policies/%2F/p", 404, "Not Found"),
            ("GET /policies/none", 404, "Not Found"),
        ],
    );
}

#[test]
fn parameters_of_known_components_come_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /parameters/shovel/%2F/s {"value":{"src-uri":"amqp://","n":[1,null,1.5]}}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    let shovel = json!({
        "component": "shovel", "vhost": "/", "name": "s",
        "value": {"src-uri": "amqp://", "n": [1, null, 1.5]},
    });
    assert_eq!(http.get("/parameters/shovel/%2F/s"), shovel);
    assert_eq!(http.get("/parameters"), json!([shovel]));
    assert_eq!(http.get("/parameters/other"), json!([]));
    refuse(
        &http,
        &[
            (
                r#"PUT /parameters/foo/%2F/x {"value":1}"#,
                400,
                "Validation failed\n\ncomponent foo not found\n",
            ),
            (
                r#"PUT /parameters/policy/%2F/x {"value":{}}"#,
                400,
                "policies may not be set using this method",
            ),
            (
                "PUT /parameters/shovel/%2F/x {}",
                400,
                "[{key_missing,value}]",
            ),
        ],
    );
    let delete = "DELETE /parameters/shovel/%2F/s";
    expect(&http, &[(delete, 204), (delete, 404)]);
}

#[test]
fn global_parameters_come_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let put = r#"PUT /global-parameters/g {"value":{"a":[1,"b",1.5,null,true]}}"#;
    expect(&http, &[(put, 201), (put, 204)]);
    let global = json!({"name": "g", "value": {"a": [1, "b", 1.5, null, true]}});
    assert_eq!(http.get("/global-parameters/g"), global);
    assert_eq!(http.get("/global-parameters"), json!([global]));
    let delete = "DELETE /global-parameters/g";
    expect(&http, &[(delete, 204), (delete, 404)]);
    expect(&http, &[(r#"PUT /cluster-name {"name":"mine"}"#, 204)]);
    assert_eq!(http.get("/global-parameters/cluster_name")["value"], "mine");
}

#[test]
fn policymakers_set_policies_where_they_have_permissions() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_vhost("other");
    for (name, tag) in [("p", "policymaker"), ("m", "management")] {
        let body = json!({"tags": tag, "password": name});
        assert_eq!(http.put(&format!("/users/{name}"), &body).status, 201);
        broker.permit(name, "/", ["", "", ""]);
    }
    let own = r#"PUT /policies/%2F/p {"pattern":"a","definition":{"max-length":1}}"#;
    let policymaker = http.user("p", "p");
    expect(
        &policymaker,
        &[
            (own, 201),
            (
                r#"PUT /parameters/vhost-limits/%2F/limits {"value":{"max-queues":9}}"#,
                201,
            ),
        ],
    );
    refuse(
        &policymaker,
        &[
            (
                r#"PUT /policies/other/p {"pattern":"a","definition":{"max-length":1}}"#,
                401,
                "User not authorised to access virtual host",
            ),
            (
                r#"PUT /operator-policies/%2F/p {"pattern":"a","definition":{"max-length":1}}"#,
                401,
                "Not administrator user",
            ),
        ],
    );
    let user = http.user("m", "m");
    assert_eq!(user.get("/policies")[0]["name"], "p", "to look is enough");
    let refusal = "User not authorised to access object";
    refuse(
        &user,
        &[
            (own, 401, refusal),
            ("GET /parameters", 401, refusal),
            ("GET /global-parameters", 401, refusal),
        ],
    );
}
