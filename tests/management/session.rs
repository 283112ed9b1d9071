//! Who may ask at all.

use crate::support::TestBroker;

#[test]
fn who_asks_is_told_who_they_are() {
    let broker = TestBroker::with_management();
    let whoami = broker.http().get("/whoami");
    assert_eq!(whoami["name"], "guest");
    assert_eq!(whoami["tags"], serde_json::json!(["administrator"]));
}

#[test]
fn nobody_and_wrong_passwords_are_refused_with_401() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    for client in [
        http.nobody(),
        http.user("guest", "wrong"),
        http.user("no", "no"),
    ] {
        let reply = client.request("GET", "/whoami", &[], None);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["error"], "not_authorized");
        assert!(reply.header("www-authenticate").is_some());
    }
}

#[test]
fn a_user_without_a_tag_may_not_use_the_api() {
    let broker = TestBroker::with_management();
    broker.add_user("plain");
    let refusal = broker.http().user("plain", "plain").get_refusal("/whoami");
    assert_eq!(refusal, (401, "Not management user".to_owned()));
}
