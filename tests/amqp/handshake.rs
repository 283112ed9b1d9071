//! From the first byte to `connection.open-ok` (AMQP 0-9-1 §2.2.4).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use leveret::wire::amqp::{
    Method, PROTOCOL_HEADER, Table, TableBuilder, channel, connection, frame, queue,
};

use crate::support::{Login, RawClient, TestBroker};

#[test]
fn a_wrong_header_is_answered_with_the_right_one_and_the_end() {
    let broker = TestBroker::start();
    for header in [
        b"AMQP\x00\x00\x09\x00",
        b"AMQP\x00\x00\x0a\x00",
        b"AMQP\x01\x01\x08\x00",
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x03\x01\x00\x00",
        b"AMQX\x00\x00\x09\x01",
        b"GET / HT",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut client = broker.connect_raw();
        client.send_bytes(header);
        assert_eq!(client.receive_bytes(8), PROTOCOL_HEADER);
        client.expect_end();
    }
}

#[test]
fn headers_of_0_9_1_and_0_9_are_answered_with_start() {
    let broker = TestBroker::start();
    for header in [PROTOCOL_HEADER, *b"AMQP\x01\x01\x00\x09"] {
        let mut client = broker.connect_raw();
        client.send_bytes(&header);
        client.expect_on(0, "connection.start");
    }
}

#[test]
fn a_header_may_come_in_pieces() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    for byte in PROTOCOL_HEADER {
        client.send_bytes(&[byte]);
    }
    client.expect_on(0, "connection.start");
}

#[test]
fn start_says_who_the_broker_is_and_what_it_can_do() {
    let broker = TestBroker::with(|config| {
        config.server.product = "Harey".to_owned();
        config.server.cluster_name = "warren".to_owned();
    });
    let mut client = broker.connect_raw();
    client.send_bytes(&PROTOCOL_HEADER);
    let received = client.expect_on(0, "connection.start");
    let Method::ConnectionStart(start) = received.method() else {
        unreachable!("expect_on checked it");
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms, b"PLAIN AMQPLAIN");
    assert_eq!(start.locales, b"en_US");
    let text = |name| start.server_properties.get(name).unwrap().as_str().unwrap();
    assert_eq!(text("product"), "Harey");
    assert_eq!(text("cluster_name"), "warren");
    assert_eq!(text("version"), "3.13.7");
    assert_eq!(text("leveret_version"), env!("CARGO_PKG_VERSION"));
    for name in ["copyright", "information", "platform"] {
        assert!(!text(name).is_empty());
    }
    let capabilities = start.server_properties.get("capabilities").unwrap();
    let capabilities = capabilities.as_table().unwrap();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.get(name).unwrap().as_bool(), Some(true));
    }
    assert_eq!(capabilities.iter().count(), 9);
}

#[test]
fn tune_offers_the_configured_limits() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.begin_login(&Login::default());
    let received = client.expect_on(0, "connection.tune");
    let expected = connection::Tune {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    assert_eq!(received.method(), expected.into());
}

#[test]
fn plain_and_amqplain_log_in_whatever_the_locale() {
    let broker = TestBroker::start();
    let mut table = TableBuilder::new();
    table.put("LOGIN", "guest").put("PASSWORD", "guest");
    let plain = Login::default();
    let amqplain = Login {
        mechanism: b"AMQPLAIN",
        response: table.view().as_bytes(),
        ..plain
    };
    let locale = Login {
        locale: b"de_DE",
        ..plain
    };
    for login in [plain, amqplain, locale] {
        broker.log_in(&login).close();
    }
}

/// RabbitMQ 3 keeps silent for 3 s; 4 says this.
#[test]
fn an_unknown_mechanism_is_named_in_a_503() {
    let broker = TestBroker::start();
    for (mechanism, shown) in [(&b"FOO"[..], "FOO"), (b"plain", "plain"), (b"", "")] {
        let mut client = broker.connect_raw();
        client.begin_login(&Login {
            mechanism,
            capabilities: &[],
            ..Login::default()
        });
        let text = format!("COMMAND_INVALID - unknown authentication mechanism '{shown}'");
        let ids = client.expect_connection_close(503, &text);
        assert_eq!(ids, (10, 11));
    }
}

#[test]
fn a_refused_login_closes_with_403_if_the_client_announced_that_it_understands() {
    let broker = TestBroker::start();
    for response in [
        &b"\0guest\0wrong"[..],
        b"\0guest\0",
        b"\0nobody\0guest",
        b"\0\xff\xfe\0guest",
        b"other\0guest\0guest",
        b"guest",
        b"",
    ] {
        let mut client = broker.connect_raw();
        client.begin_login(&Login {
            response,
            ..Login::default()
        });
        client.expect_connection_close(
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details \
             see the broker logfile.",
        );
    }
}

#[test]
fn a_refused_login_of_other_clients_ends_in_silence_after_three_seconds() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.begin_login(&Login {
        response: b"\0guest\0wrong",
        capabilities: &[],
        ..Login::default()
    });
    let started = Instant::now();
    client.expect_end();
    assert!(started.elapsed() >= Duration::from_millis(2900));
}

/// The address by which this machine would reach others, if it has one. Nothing is sent.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn guest_may_log_in_from_this_machine_only() {
    let broker = TestBroker::with(|config| config.bind = vec!["0.0.0.0".to_owned()]);
    let port = broker.address().port();
    let mut local = RawClient::connect((Ipv4Addr::LOCALHOST, port).into());
    local.open_connection(&Login::default());
    let Some(outer) = outer_address() else {
        return;
    };
    let mut remote = RawClient::connect((outer, port).into());
    remote.begin_login(&Login::default());
    remote.expect_connection_close(
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see \
         the broker logfile.",
    );
}

#[test]
fn an_ipv4_address_within_ipv6_is_this_machine_too() {
    let broker = TestBroker::with(|config| config.bind = Vec::new());
    let port = broker.address().port();
    let mut client = RawClient::connect((Ipv4Addr::LOCALHOST, port).into());
    client.open_connection(&Login::default());
}

#[test]
fn limits_are_negotiated_downwards_only() {
    let broker = TestBroker::start();
    for (channel_max, frame_max, what) in [
        (
            0,
            131_072,
            "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        (
            2048,
            131_072,
            "channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            2047,
            0,
            "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            4095,
            "frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
        (
            2047,
            131_073,
            "frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
    ] {
        let mut client = broker.connect_raw();
        let login = Login {
            channel_max,
            frame_max,
            ..Login::default()
        };
        client.begin_login(&login);
        client.expect_on(0, "connection.tune");
        client.tune_and_open(&login);
        let text = format!("NOT_ALLOWED - negotiated {what}");
        let ids = client.expect_connection_close(530, &text);
        assert_eq!(ids, (10, 31));
    }
}

#[test]
fn the_smallest_limits_are_one_channel_and_frames_of_4096_bytes() {
    let broker = TestBroker::start();
    let mut client = broker.log_in(&Login {
        channel_max: 1,
        frame_max: 4096,
        ..Login::default()
    });
    client.declare_queue("q");
    let body = vec![7; 10_000];
    client.publish("", "q", &body);
    // The client checks that no frame is larger than negotiated.
    assert_eq!(client.get("q").unwrap().body, body);
}

#[test]
fn an_unknown_vhost_closes_with_530() {
    let broker = TestBroker::start();
    for (virtual_host, shown) in [(&b"nope"[..], "nope"), (b"", ""), (b"/nope", "/nope")] {
        let mut client = broker.connect_raw();
        let login = Login {
            virtual_host,
            ..Login::default()
        };
        client.begin_login(&login);
        client.expect_on(0, "connection.tune");
        client.tune_and_open(&login);
        let text = format!("NOT_ALLOWED - vhost {shown} not found");
        let ids = client.expect_connection_close(530, &text);
        assert_eq!(ids, (10, 40));
    }
}

#[test]
fn a_channel_before_the_connection_is_open_is_an_unexpected_frame() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.begin_login(&Login::default());
    client.expect_on(0, "connection.tune");
    client.send_on(
        0,
        &connection::TuneOk {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
        },
    );
    client.send_on(1, &channel::Open::default());
    client.expect_connection_close(
        505,
        "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>",
    );
}

/// RabbitMQ 3 keeps silent for 3 s.
#[test]
fn methods_out_of_turn_are_unexpected_frames() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.send_bytes(&PROTOCOL_HEADER);
    client.expect_on(0, "connection.start");
    client.send_on(0, &queue::Purge::default());
    client.expect_connection_close(
        505,
        "UNEXPECTED_FRAME - type 1, all octets = <<0,50,0,30,0,0,0,0>>",
    );
}

#[test]
fn methods_of_the_handshake_are_channel_errors_afterwards() {
    let broker = TestBroker::start();
    let methods: [Method<'_>; 5] = [
        connection::Open::default().into(),
        connection::TuneOk::default().into(),
        connection::StartOk::default().into(),
        connection::CloseOk {}.into(),
        queue::Declare::default().into(),
    ];
    for method in methods {
        let mut client = broker.connect();
        client.send_on(0, &method);
        let text = "CHANNEL_ERROR - unexpected method in connection state running";
        let ids = client.expect_connection_close(504, text);
        assert_eq!(ids, leveret::wire::amqp::EncodeMethod::ids(&method));
    }
}

#[test]
fn heartbeats_may_come_during_the_handshake() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.begin_login(&Login::default());
    client.send_frame(frame::HEARTBEAT, 0, b"");
    client.expect_on(0, "connection.tune");
    client.send_frame(frame::HEARTBEAT, 0, b"");
    client.tune_and_open(&Login::default());
    client.expect_on(0, "connection.open-ok");
}

#[test]
fn large_client_properties_are_welcome() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.send_bytes(&PROTOCOL_HEADER);
    client.expect_on(0, "connection.start");
    let token = "x".repeat(8000);
    let mut properties = TableBuilder::new();
    properties.put("token", token.as_str());
    client.send_on(
        0,
        &connection::StartOk {
            client_properties: properties.view(),
            mechanism: b"PLAIN",
            response: b"\0guest\0guest",
            locale: b"en_US",
        },
    );
    client.expect_on(0, "connection.tune");
}

#[test]
fn odd_client_properties_do_no_harm() {
    let broker = TestBroker::start();
    let mut client = broker.connect_raw();
    client.send_bytes(&PROTOCOL_HEADER);
    client.expect_on(0, "connection.start");
    let mut properties = TableBuilder::new();
    properties
        .put("capabilities", 5)
        .put("connection_name", Table::EMPTY);
    client.send_on(
        0,
        &connection::StartOk {
            client_properties: properties.view(),
            mechanism: b"PLAIN",
            response: b"\0guest\0guest",
            locale: b"en_US",
        },
    );
    client.expect_on(0, "connection.tune");
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up() {
    let broker = TestBroker::with(|config| config.limits.handshake_timeout_ms = 200);
    let mut silent = broker.connect_raw();
    let mut half = broker.connect_raw();
    half.send_bytes(b"AMQP");
    let mut slow = broker.connect_raw();
    slow.begin_login(&Login::default());
    slow.expect_on(0, "connection.tune");
    let mut done = broker.connect();
    silent.expect_end();
    half.expect_end();
    slow.expect_end();
    done.expect_nothing();
}

#[test]
fn a_secret_is_updated_without_a_fuss() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_on(
        0,
        &connection::UpdateSecret {
            new_secret: b"guest",
            reason: b"test",
        },
    );
    client.expect_on(0, "connection.update-secret-ok");
}

#[test]
fn what_was_sent_before_close_is_done_before_close_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&queue::Declare {
        queue: b"q",
        ..Default::default()
    });
    client.publish("", "q", "one");
    client.send_on(0, &connection::Close::default());
    client.send(&queue::Declare {
        queue: b"too late",
        ..Default::default()
    });
    client.expect("queue.declare-ok");
    client.expect_on(0, "connection.close-ok");
    client.expect_end();

    let mut other = broker.connect();
    assert_eq!(other.counts("q"), (1, 0));
    let late = queue::Declare {
        queue: b"too late",
        passive: true,
        ..Default::default()
    };
    other.expect_refusal(late, 404, "NOT_FOUND - no queue 'too late' in vhost '/'");
}
