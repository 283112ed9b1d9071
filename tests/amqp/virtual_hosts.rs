//! Virtual hosts: apart from each other, limited, protected, and deleted with all that is in them.

use leveret::broker::Metadata;
use leveret::broker::access::{Limit, Refused};
use leveret::protocol::order::{Order, Outcome};
use leveret::wire::amqp::{TableBuilder, queue};

use crate::support::{RawClient, TestBroker};

fn with_host() -> TestBroker {
    let broker = TestBroker::start();
    broker.add_vhost("v");
    broker.permit("guest", "v", [".*"; 3]);
    broker
}

fn connect(broker: &TestBroker) -> RawClient {
    broker.connect_as("guest", "v")
}

fn named(name: &str) -> String {
    name.to_owned()
}

fn delete(broker: &TestBroker) {
    broker.obey(Order::DeleteVhost { name: named("v") });
}

fn limit(broker: &TestBroker, limit: Limit, value: i64) {
    broker.obey(Order::SetVhostLimits {
        name: named("v"),
        limits: vec![(limit, value)],
    });
}

#[test]
fn a_new_one_has_the_exchanges_that_all_have_and_nothing_else() {
    let broker = with_host();
    let mut client = connect(&broker);
    let mut elsewhere = broker.connect();
    elsewhere.declare_queue("q");
    client.declare_queue("q");
    client.bind_queue("q", "amq.topic", "#");
    client.publish("amq.topic", "k", "m");
    client.publish("", "q", "n");
    assert_eq!(client.drain("q"), ["m", "n"]);
    assert_eq!(elsewhere.counts("q"), (0, 0));
}

#[test]
fn connections_to_a_deleted_one_are_sent_away() {
    let broker = with_host();
    let mut client = connect(&broker);
    let mut idle = connect(&broker);
    let mut elsewhere = broker.connect();
    client.declare_queue("q");
    client.consume("q", "t");
    client.call(queue::Declare {
        queue: b"mine",
        exclusive: true,
        ..Default::default()
    });
    client.declare_exchange("x", "fanout");
    client.bind_queue("q", "x", "");
    client.publish("x", "", "unacked");
    client.expect_delivery();
    delete(&broker);
    for client in [&mut client, &mut idle] {
        let text = "CONNECTION_FORCED - vhost 'v' is deleted";
        assert_eq!(client.expect_connection_close(320, text), (0, 0));
    }
    broker.expect_not_allowed("guest", "v", "vhost v not found");
    elsewhere.declare_queue("q");
    let again = broker.order(Order::DeleteVhost { name: named("v") });
    assert_eq!(again, Err(Refused::NoSuchVirtualHost(named("v"))));
}

#[test]
fn a_publisher_that_does_not_listen_leaves_nothing_in_it() {
    let broker = with_host();
    let mut client = connect(&broker);
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.counts("q");
    // With whatever was under way when it was deleted.
    for _ in 0..100 {
        client.publish("", "q", "more");
    }
    delete(&broker);
    let text = "CONNECTION_FORCED - vhost 'v' is deleted";
    client.expect_connection_close(320, text);
    broker.add_vhost("v");
    broker.permit("guest", "v", [".*"; 3]);
    let mut client = connect(&broker);
    client.expect_refusal(
        queue::Declare {
            queue: b"q",
            passive: true,
            ..Default::default()
        },
        404,
        "NOT_FOUND - no queue 'q' in vhost 'v'",
    );
}

#[test]
fn one_of_the_same_name_is_another() {
    let broker = with_host();
    limit(&broker, Limit::MaxQueues, 0);
    delete(&broker);
    broker.add_vhost("v");
    let text = "access to vhost 'v' refused for user 'guest'";
    broker.expect_not_allowed("guest", "v", text);
    broker.permit("guest", "v", [".*"; 3]);
    connect(&broker).declare_queue("q");
    let twice = broker.order(Order::AddVhost {
        name: named("v"),
        metadata: Metadata::default(),
    });
    assert_eq!(twice, Err(Refused::VirtualHostExists(named("v"))));
}

#[test]
fn a_protected_one_stays() {
    let broker = with_host();
    let mut metadata = Metadata {
        description: named("for tests"),
        tags: vec![named("a"), named("b")],
        default_queue_type: None,
        is_protected: true,
    };
    let update = |metadata: &Metadata| {
        broker.obey(Order::UpdateVhost {
            name: named("v"),
            metadata: metadata.clone(),
        });
    };
    update(&metadata);
    let refused = broker.order(Order::DeleteVhost { name: named("v") });
    assert_eq!(refused, Err(Refused::Protected(named("v"))));
    let Ok(Outcome::Vhosts(hosts)) = broker.order(Order::ListVhosts) else {
        panic!("no list");
    };
    assert_eq!(hosts[1].metadata, metadata);
    metadata.is_protected = false;
    update(&metadata);
    delete(&broker);
}

#[test]
fn it_has_only_so_many_connections() {
    let broker = with_host();
    let first = connect(&broker);
    limit(&broker, Limit::MaxConnections, 1);
    let text = "access to vhost 'v' refused for user 'guest': connection limit (1) is reached";
    broker.expect_not_allowed("guest", "v", text);
    broker.connect();
    first.close();
    connect(&broker).close();
    limit(&broker, Limit::MaxConnections, -1);
    connect(&broker);
}

#[test]
fn it_has_only_so_many_queues() {
    let broker = with_host();
    let mut client = connect(&broker);
    client.declare_queue("a");
    limit(&broker, Limit::MaxQueues, 1);
    client.declare_queue("a");
    let declare = queue::Declare {
        queue: b"b",
        ..Default::default()
    };
    let text = "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost 'v' (1) is \
                reached";
    client.expect_refusal(declare, 406, text);
    broker.obey(Order::ClearVhostLimits {
        name: named("v"),
        limit: Some(Limit::MaxQueues),
    });
    client.declare_queue("b");
}

#[test]
fn its_queues_are_of_its_type_unless_they_say_or_cannot() {
    let broker = with_host();
    broker.obey(Order::UpdateVhost {
        name: named("v"),
        metadata: Metadata {
            default_queue_type: Some(named("quorum")),
            ..Metadata::default()
        },
    });
    let mut client = connect(&broker);
    let durable = queue::Declare {
        queue: b"q",
        durable: true,
        ..Default::default()
    };
    client.call(durable);
    client.call(durable);
    let mut quorum = TableBuilder::new();
    quorum.put("x-queue-type", "quorum");
    client.call(queue::Declare {
        arguments: quorum.view(),
        ..durable
    });
    let mut classic = TableBuilder::new();
    classic.put("x-queue-type", "classic");
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost 'v': \
                received 'classic' but current is 'quorum'";
    let declare = queue::Declare {
        arguments: classic.view(),
        ..durable
    };
    client.expect_refusal(declare, 406, text);
    client.declare_queue("transient");
}

#[test]
fn where_virtual_hosts_say_nothing_of_types_the_broker_does() {
    let broker = TestBroker::with(|config| config.default_queue_type = Some(named("quorum")));
    let mut client = broker.connect();
    client.call(queue::Declare {
        queue: b"q",
        durable: true,
        ..Default::default()
    });
    let mut classic = TableBuilder::new();
    classic.put("x-queue-type", "classic");
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': \
                received 'classic' but current is 'quorum'";
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        arguments: classic.view(),
        ..Default::default()
    };
    client.expect_refusal(declare, 406, text);
    client.declare_queue("transient");
}
