//! Users (RabbitMQ: internal authentication): coming in, limits, and being deleted meanwhile.

use leveret::broker::access::{Hashing, Limit, LoginRefusal, PasswordHash, Refused};
use leveret::protocol::order::{Order, Outcome, Secret};
use leveret::wire::amqp::{TableBuilder, Value, channel};

use crate::support::{Login, RawClient, TestBroker};

fn with_user() -> TestBroker {
    let broker = TestBroker::start();
    broker.add_user("u");
    broker.permit("u", "/", [".*"; 3]);
    broker
}

fn login(response: &[u8]) -> Login<'_> {
    Login {
        response,
        ..Login::default()
    }
}

#[track_caller]
fn expect_refused(broker: &TestBroker, login: &Login<'_>) {
    let mut client = broker.connect_raw();
    client.begin_login(login);
    let mechanism = String::from_utf8_lossy(login.mechanism);
    let text = format!(
        "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details \
         see the broker logfile."
    );
    client.expect_connection_close(403, &text);
}

fn named(name: &str) -> String {
    name.to_owned()
}

#[test]
fn a_user_comes_in_with_the_password_of_the_moment() {
    let broker = with_user();
    let mut open = broker.connect_as("u", "/");
    for wrong in [&b"\0u\0"[..], b"\0u\0x", b"\0x\0u", b"\0U\0u"] {
        expect_refused(&broker, &login(wrong));
    }
    broker.obey(Order::ChangePassword {
        name: named("u"),
        password: "new".into(),
    });
    expect_refused(&broker, &login(b"\0u\0u"));
    broker.log_in(&login(b"\0u\0new"));
    broker.obey(Order::ClearPassword { name: named("u") });
    expect_refused(&broker, &login(b"\0u\0new"));
    expect_refused(&broker, &login(b"\0u\0"));
    open.declare_queue("q");
}

#[test]
fn rabbitmqs_hashes_and_amqplain_let_in() {
    let broker = with_user();
    // Of the password `lim`, as RabbitMQ made it.
    let of_lim = "4tquDwlX1IynbIiprfUlpKY7xWSX/BXZ4OiuYyaquYOxdxpS";
    let hash = PasswordHash::from_base64(of_lim, Hashing::Sha256).unwrap();
    broker.obey(Order::ChangePassword {
        name: named("u"),
        password: Secret::Hashed(hash),
    });
    broker.log_in(&login(b"\0u\0lim"));
    let mut table = TableBuilder::new();
    table
        .put("LOGIN", Value::string("u"))
        .put("PASSWORD", Value::string("lim"));
    let response = table.view();
    broker.log_in(&Login {
        mechanism: b"AMQPLAIN",
        ..login(response.as_bytes())
    });
    let tried = |password: &str| {
        broker.order(Order::AuthenticateUser {
            name: named("u"),
            password: password.into(),
        })
    };
    assert_eq!(tried("lim"), Ok(Outcome::Done));
    let refused = Outcome::LoginRefused(LoginRefusal::InvalidCredentials);
    assert_eq!(tried("u"), Ok(refused));
}

#[test]
fn a_user_without_permissions_sees_no_virtual_host() {
    let broker = TestBroker::start();
    broker.add_user("u");
    broker.expect_not_allowed("u", "/", "access to vhost '/' refused for user 'u'");
    broker.expect_not_allowed("u", "none", "vhost none not found");
}

#[test]
fn a_deleted_user_is_sent_away() {
    let broker = with_user();
    let mut client = broker.connect_as("u", "/");
    let mut idle = broker.connect_as("u", "/");
    let mut other = broker.connect();
    client.declare_queue("q");
    client.consume("q", "t");
    broker.obey(Order::DeleteUser { name: named("u") });
    for client in [&mut client, &mut idle] {
        let text = "CONNECTION_FORCED - user 'u' is deleted";
        assert_eq!(client.expect_connection_close(320, text), (0, 0));
    }
    expect_refused(&broker, &login(b"\0u\0u"));
    assert_eq!(other.counts("q"), (0, 0));
    // Another of that name has nothing of the first.
    broker.add_user("u");
    broker.expect_not_allowed("u", "/", "access to vhost '/' refused for user 'u'");
    let again = broker.order(Order::DeleteUser { name: named("x") });
    assert_eq!(again, Err(Refused::NoSuchUser(named("x"))));
}

fn limit(broker: &TestBroker, limit: Limit, value: i64) {
    broker.obey(Order::SetUserLimits {
        name: named("u"),
        limits: vec![(limit, value)],
    });
}

#[test]
fn a_user_has_only_so_many_connections() {
    let broker = with_user();
    let first = broker.connect_as("u", "/");
    limit(&broker, Limit::MaxConnections, 1);
    let text = "connection refused for user 'u': user connection limit (1) is reached";
    broker.expect_not_allowed("u", "/", text);
    broker.connect();
    first.close();
    broker.connect_as("u", "/").close();
    limit(&broker, Limit::MaxConnections, 0);
    let text = "connection refused for user 'u': user connection limit (0) is reached";
    broker.expect_not_allowed("u", "/", text);
    limit(&broker, Limit::MaxConnections, -1);
    broker.connect_as("u", "/").close();
    broker.obey(Order::ClearUserLimits {
        name: named("u"),
        limit: None,
    });
    broker.connect_as("u", "/");
}

#[test]
fn a_user_has_only_so_many_channels() {
    let broker = with_user();
    let mut client = broker.connect_as("u", "/");
    let mut second = broker.connect_as("u", "/");
    limit(&broker, Limit::MaxChannels, 2);
    client.close_channel();
    client.open_channel(2);
    client.send_on(3, &channel::Open::default());
    let text = "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum \
                allowed user limit of (2)";
    client.expect_connection_close(530, text);
    second.open_channel(2);
}

#[test]
fn the_first_user_is_the_one_that_is_configured() {
    let broker = TestBroker::with(|config| {
        config.access.default_user = named("admin");
        config.access.default_password = named("secret");
        config.access.default_virtual_host = named("app");
        config.access.default_write = named("^app");
    });
    expect_refused(&broker, &login(b"\0guest\0guest"));
    let mut client: RawClient = broker.log_in(&Login {
        virtual_host: b"app",
        ..login(b"\0admin\0secret")
    });
    client.declare_queue("q");
    client.publish("", "q", "m");
    let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost 'app' refused for \
                user 'admin'";
    client.expect_channel_close(403, text);
    let listed = broker.order(Order::ListVhosts);
    assert!(matches!(listed, Ok(Outcome::Vhosts(hosts)) if hosts.len() == 1));
}

#[test]
fn users_are_listed_with_all_but_their_passwords_in_words() {
    let broker = with_user();
    broker.obey(Order::SetUserTags {
        name: named("u"),
        tags: vec![named("monitoring"), named("mine")],
    });
    limit(&broker, Limit::MaxChannels, 7);
    let Ok(Outcome::Users(users)) = broker.order(Order::ListUsers) else {
        panic!("no list");
    };
    assert_eq!(users[0].name, "guest");
    assert_eq!(users[0].tags, ["administrator"]);
    assert_eq!(users[1].tags, ["monitoring", "mine"]);
    assert_eq!(users[1].limits.max_channels, Some(7));
    assert!(!format!("{users:?}").contains(&users[1].password.to_base64()));
    let Ok(Outcome::Permissions(permissions)) = broker.order(Order::ListPermissions) else {
        panic!("no list");
    };
    assert_eq!(permissions[1].user, "u");
    assert_eq!(permissions[1].configure, ".*");
}
