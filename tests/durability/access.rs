//! Users, permissions, limits and virtual hosts over a restart.

use std::path::Path;

use leveret::broker::Metadata;
use leveret::broker::access::Limit;
use leveret::protocol::order::{Order, Outcome};
use leveret::wire::amqp::queue;

use crate::program::SPAWNING;
use crate::support::{RawClient, TestBroker};

fn start_in(place: &Path) -> TestBroker {
    let _turn = SPAWNING.lock();
    TestBroker::with(|config| config.data_dir = Some(place.join("data")))
}

fn named(name: &str) -> String {
    name.to_owned()
}

/// All that can be listed.
fn lists(broker: &TestBroker) -> Vec<Outcome> {
    let orders = [
        Order::ListUsers,
        Order::ListVhosts,
        Order::ListPermissions,
        Order::ListTopicPermissions,
    ];
    let outcomes = orders.map(|order| broker.order(order).unwrap());
    outcomes.into()
}

fn declare_durable(client: &mut RawClient, name: &str) {
    client.call(queue::Declare {
        queue: name.as_bytes(),
        durable: true,
        ..Default::default()
    });
}

#[test]
fn what_was_ordered_holds_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let broker = start_in(place.path());
    broker.add_user("u");
    broker.add_vhost("v");
    broker.permit("u", "v", ["^a", ".*", ""]);
    broker.permit("u", "/", [".*"; 3]);
    for order in [
        Order::SetUserTags {
            name: named("u"),
            tags: vec![named("management"), named("x")],
        },
        Order::SetUserLimits {
            name: named("u"),
            limits: vec![(Limit::MaxChannels, 9), (Limit::MaxConnections, -1)],
        },
        Order::SetVhostLimits {
            name: named("v"),
            limits: vec![(Limit::MaxQueues, 1)],
        },
        Order::UpdateVhost {
            name: named("v"),
            metadata: Metadata {
                description: named("for tests"),
                tags: vec![named("t")],
                default_queue_type: Some(named("classic")),
                is_protected: true,
            },
        },
        Order::SetTopicPermissions {
            user: named("u"),
            vhost: named("v"),
            exchange: named("amq.topic"),
            write: named("^{username}"),
            read: named(".*"),
        },
        Order::ChangePassword {
            name: named("guest"),
            password: "secret".into(),
        },
        Order::ClearPermissions {
            user: named("u"),
            vhost: named("/"),
        },
    ] {
        broker.obey(order);
    }
    declare_durable(&mut broker.connect_as("u", "v"), "a");
    let before = lists(&broker);
    broker.stop();

    for _ in 0..2 {
        let broker = start_in(place.path());
        assert_eq!(lists(&broker), before);
        let mut client = broker.connect_as("u", "v");
        declare_durable(&mut client, "a");
        let text = "PRECONDITION_FAILED - cannot declare queue 'ab': queue limit in vhost 'v' (1) \
                    is reached";
        let declare = queue::Declare {
            queue: b"ab",
            ..Default::default()
        };
        client.expect_refusal(declare, 406, text);
        client.publish("amq.topic", "bad", "m");
        let text = "ACCESS_REFUSED - write access to topic 'bad' in exchange 'amq.topic' in vhost \
                    'v' refused for user 'u'";
        client.expect_channel_close(403, text);
        broker.expect_not_allowed("u", "/", "access to vhost '/' refused for user 'u'");
        broker.stop();
    }
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let place = tempfile::tempdir().unwrap();
    let broker = start_in(place.path());
    broker.add_user("u");
    for host in ["v", "w"] {
        broker.add_vhost(host);
        broker.permit("u", host, [".*"; 3]);
        let mut client = broker.connect_as("u", host);
        declare_durable(&mut client, "q");
        client.bind_queue("q", "amq.topic", "#");
        assert!(client.publish_confirmed_durably("q"));
    }
    for order in [
        Order::DeleteVhost { name: named("v") },
        Order::DeleteVhost { name: named("/") },
        Order::DeleteUser {
            name: named("guest"),
        },
    ] {
        broker.obey(order);
    }
    // Another of that name has nothing of the first.
    broker.add_vhost("v");
    broker.permit("u", "v", [".*"; 3]);
    let before = lists(&broker);
    broker.stop();

    let broker = start_in(place.path());
    assert_eq!(lists(&broker), before);
    assert!(!broker.connect_as("u", "v").has_queue("q"));
    assert_eq!(broker.connect_as("u", "w").counts("q"), (1, 0));
    broker.expect_not_allowed("u", "/", "vhost / not found");
}

impl RawClient {
    /// One persistent message, confirmed.
    fn publish_confirmed_durably(&mut self, queue: &str) -> bool {
        self.confirm();
        let persistent = leveret::wire::amqp::Properties {
            delivery_mode: Some(2),
            ..Default::default()
        };
        self.publish_with("", queue, &persistent, "m");
        self.verdict()
    }
}

#[test]
fn the_first_start_alone_goes_by_the_configuration() {
    let place = tempfile::tempdir().unwrap();
    let configured = |user: &'static str| {
        let _turn = SPAWNING.lock();
        TestBroker::with(|config| {
            config.data_dir = Some(place.path().join("data"));
            config.access.default_user = named(user);
            config.access.default_password = named(user);
            config.access.default_virtual_host = named(user);
        })
    };
    let broker = configured("first");
    broker.connect_as("first", "first");
    let before = lists(&broker);
    broker.stop();
    let broker = configured("second");
    assert_eq!(lists(&broker), before);
    broker.connect_as("first", "first");
}
