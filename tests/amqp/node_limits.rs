//! Limits of the whole broker (RabbitMQ: `connection_max`, `channel_max_per_node`).

use leveret::wire::amqp::channel;

use crate::support::{Login, TestBroker};

#[test]
fn one_connection_too_many_is_refused_until_another_is_gone() {
    let broker = TestBroker::with(|config| config.limits.connections_max = Some(2));
    let first = broker.connect();
    let _second = broker.connect();
    let mut third = broker.connect_raw();
    let login = Login {
        // The limit comes before the question whether there is such a virtual host.
        virtual_host: b"none",
        ..Login::default()
    };
    third.begin_login(&login);
    third.expect_on(0, "connection.tune");
    third.tune_and_open(&login);
    let text = "NOT_ALLOWED - connection refused: node connection limit (2) is reached";
    assert_eq!(third.expect_connection_close(530, text), (10, 40));
    first.close();
    broker.connect();
}

#[test]
fn one_channel_too_many_ends_its_connection() {
    let broker = TestBroker::with(|config| config.limits.channels_max = Some(3));
    let mut first = broker.connect();
    let mut second = broker.connect();
    first.open_channel(2);
    second.switch_to(2);
    second.send(&channel::Open::default());
    let text = "NOT_ALLOWED - number of channels opened on node 'rabbit@localhost' has reached the \
                maximum allowed limit of 3";
    assert_eq!(second.expect_connection_close(530, text), (0, 0));
    // What it had is free: its end was seen above.
    first.open_channel(3);
}
