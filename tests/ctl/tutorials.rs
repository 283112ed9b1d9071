//! What tutorials tell to type, against a real broker and by RabbitMQ's name: over the socket in the data
//! directory, and with credentials over TCP.

use leveret::wire::amqp::{Method, queue};

use super::served::ServedBroker;
use crate::support::{RawClient, eventually};

const DONE: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! \
                    See 'rabbitmqctl help set_permissions' to learn more.\n";

/// The line that lists counts, and what it says of one queue.
#[track_caller]
fn counts(broker: &ServedBroker, queue: &str, ready: u32, unacknowledged: u32) {
    broker.prints(
        "rabbitmqctl list_queues name messages_ready messages_unacknowledged",
        &format!(
            "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n\
             name\tmessages_ready\tmessages_unacknowledged\n{queue}\t{ready}\t{unacknowledged}\n"
        ),
    );
}

#[test]
fn a_user_is_added_and_gets_what_an_application_needs() {
    let broker = ServedBroker::start();
    broker.prints(
        "rabbitmqctl add_user aaa bbb",
        &format!("Adding user \"aaa\" ...\n{DONE}"),
    );
    broker.prints(
        "rabbitmqctl set_user_tags aaa administrator",
        "Setting tags for user \"aaa\" to [administrator] ...\n",
    );
    broker.prints(
        r#"rabbitmqctl set_permissions -p / aaa ".*" ".*" ".*""#,
        "Setting permissions for user \"aaa\" in vhost \"/\" ...\n",
    );
    broker.prints(
        "rabbitmqctl list_users",
        "Listing users ...\nuser\ttags\naaa\t[administrator]\nguest\t[administrator]\n",
    );
    broker.prints(
        "rabbitmqctl list_permissions -p /",
        "Listing permissions for vhost \"/\" ...\nuser\tconfigure\twrite\tread\n\
         aaa\t.*\t.*\t.*\nguest\t.*\t.*\t.*\n",
    );
    broker.prints(
        "rabbitmqctl list_user_permissions aaa",
        "Listing permissions for user \"aaa\" ...\nvhost\tconfigure\twrite\tread\n/\t.*\t.*\t.*\n",
    );
    broker.client("aaa", "bbb", "/").declare_queue("hello");
    broker.prints(
        "rabbitmqctl change_password aaa ccc",
        "Changing password for user \"aaa\" ...\n",
    );
    broker.prints(
        "rabbitmqctl authenticate_user aaa ccc",
        "Authenticating user \"aaa\" ...\nSuccess\n",
    );
    assert_eq!(
        broker.types("rabbitmqctl authenticate_user aaa bbb").code,
        65
    );
    broker.client("aaa", "ccc", "/").counts("hello");
    broker.prints(
        "rabbitmqctl clear_permissions -p / aaa",
        "Clearing permissions for user \"aaa\" in vhost \"/\" ...\n",
    );
    broker.prints("rabbitmqctl delete_user aaa", "Deleting user \"aaa\" ...\n");
    broker.fails(
        "rabbitmqctl delete_user aaa",
        67,
        "Error:\nUser \"aaa\" does not exist\n",
    );
}

#[test]
fn counts_are_those_of_the_moment() {
    let broker = ServedBroker::start();
    let mut client = broker.guest();
    client.declare_queue("hello");
    counts(&broker, "hello", 0, 0);
    client.confirm();
    // What the broker has said is what the next line shows: nothing waits for statistics.
    for n in 1..=3 {
        client.publish("", "hello", "Hello World!");
        client.expect("basic.ack");
        counts(&broker, "hello", n, 0);
    }
    let first = client.get("hello").unwrap();
    counts(&broker, "hello", 2, 1);
    client.requeue(first.delivery_tag);
    client.counts("hello");
    counts(&broker, "hello", 3, 0);
    client.consume("hello", "t");
    let tags = client.expect_deliveries(3);
    counts(&broker, "hello", 0, 3);
    client.ack(tags[0]);
    client.counts("hello");
    counts(&broker, "hello", 0, 2);
    client.close();
    counts(&broker, "hello", 2, 0);
    broker.prints("rabbitmqctl -q list_queues", "name\tmessages\nhello\t2\n");
    broker.prints(
        "rabbitmqctl purge_queue hello",
        "Purging queue 'hello' in vhost '/' ...\n",
    );
    counts(&broker, "hello", 0, 0);
}

#[test]
fn what_the_publish_and_subscribe_tutorial_lists_is_there() {
    let broker = ServedBroker::start();
    let mut client = broker.guest();
    client.declare_exchange("logs", "fanout");
    let declared = client.call(queue::Declare {
        exclusive: true,
        ..Default::default()
    });
    let Method::QueueDeclareOk(declared) = declared.method() else {
        unreachable!("it was waited for");
    };
    let name = String::from_utf8_lossy(declared.queue).into_owned();
    client.bind_queue(&name, "logs", "");
    broker.prints(
        "rabbitmqctl list_exchanges",
        "Listing exchanges for vhost / ...\nname\ttype\n\tdirect\namq.direct\tdirect\n\
         amq.fanout\tfanout\namq.headers\theaders\namq.match\theaders\namq.rabbitmq.trace\ttopic\n\
         amq.topic\ttopic\nlogs\tfanout\n",
    );
    broker.prints(
        "rabbitmqctl list_bindings",
        &format!(
            "Listing bindings for vhost /...\n\
             source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\
             \texchange\t{name}\tqueue\t{name}\t[]\n\
             logs\texchange\t{name}\tqueue\t\t[]\n"
        ),
    );
}

#[test]
fn a_stuck_virtual_host_is_made_anew() {
    let broker = ServedBroker::start();
    let mut client = broker.guest();
    client.call(queue::Declare {
        durable: true,
        queue: b"stuck",
        ..Default::default()
    });
    broker.prints("rabbitmqctl delete_vhost /", "Deleting vhost \"/\" ...\n");
    client.expect_forced("vhost '/' is deleted");
    broker.prints("rabbitmqctl add_vhost /", "Adding vhost \"/\" ...\n");
    broker.prints(
        "rabbitmqctl set_permissions -p / guest '.*' '.*' '.*'",
        "Setting permissions for user \"guest\" in vhost \"/\" ...\n",
    );
    let mut client = broker.guest();
    broker.prints("rabbitmqctl -q list_queues", "");
    client.declare_queue("stuck");
}

#[test]
fn connections_are_listed_and_closed() {
    let broker = ServedBroker::start();
    let mut client = broker.guest();
    let port = client.stream.local_addr().unwrap().port();
    broker.prints(
        "rabbitmqctl list_connections",
        &format!("Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t{port}\trunning\n"),
    );
    let pid = broker.does("rabbitmqctl -q --no-table-headers list_connections pid");
    let out = broker.does(&format!(
        "rabbitmqctl close_connection '{}' 'go away'",
        pid.trim()
    ));
    assert_eq!(
        out,
        format!("Closing connection {}, reason: go away...\n", pid.trim())
    );
    client.expect_forced("go away");
    // Who was told to go is not listed once it has gone.
    eventually("nobody is listed", || {
        broker.does("rabbitmqctl -q list_connections").is_empty()
    });
    let mut others = [broker.guest(), broker.guest()];
    broker.prints(
        "rabbitmqctl close_all_connections 'maintenance'",
        "Closing all connections in vhost /, reason: maintenance...\nClosed 2 connections\n",
    );
    for client in &mut others {
        client.expect_forced("maintenance");
    }
}

#[test]
fn over_tcp_it_takes_credentials() {
    let broker = ServedBroker::start();
    let port = broker.http_port();
    let far = |command: &str| {
        // Nothing that is local may help.
        broker.types(&format!(
            "LEVERET_DATA_DIR=/nonexistent rabbitmqctl --host 127.0.0.1 --port {port} {command}"
        ))
    };
    let run = far("--user guest --password guest add_user u 's p'");
    assert_eq!((run.code, &*run.err), (0, ""));
    // Without words about it, it is guest, as clients are.
    let run = far("set_user_tags u management");
    assert_eq!((run.code, &*run.err), (0, ""));
    let run = far("set_permissions u '^mine' '' '.*'");
    assert_eq!((run.code, &*run.err), (0, ""));
    let mut guest = broker.guest();
    for queue in ["mine", "theirs"] {
        guest.declare_queue(queue);
    }
    let run = far("-q --user u --password 's p' list_queues name messages_ready");
    assert_eq!(
        (run.code, &*run.out, &*run.err),
        (0, "name\tmessages_ready\nmine\t0\ntheirs\t0\n", "")
    );
    let run = far("-q --user u --password wrong list_queues");
    assert_eq!(run.code, 69, "{run:?}");
    // What users may not do, they may not do here either: neither what is for administrators ...
    let run = far("-q --user u --password 's p' add_user v v");
    assert_ne!(run.code, 0, "{run:?}");
    assert!(!broker.does("rabbitmqctl list_users").contains("v\t"));
    // ... nor what their permissions are against.
    let run = far("-q --user u --password 's p' delete_queue theirs");
    assert_ne!(run.code, 0, "{run:?}");
    let run = far("-q --user u --password 's p' purge_queue theirs");
    assert_eq!(run.code, 0, "{run:?}");
    let run = far("-q --user u --password 's p' delete_queue mine");
    assert_eq!(run.code, 0, "{run:?}");
    broker.prints("rabbitmqctl -q list_queues", "name\tmessages\ntheirs\t0\n");
}

trait Expect {
    fn expect_forced(&mut self, reason: &str);
    fn expect_deliveries(&mut self, count: usize) -> Vec<u64>;
}

impl Expect for RawClient {
    #[track_caller]
    fn expect_forced(&mut self, reason: &str) {
        let text = format!("CONNECTION_FORCED - {reason}");
        self.expect_connection_close(320, &text);
    }

    fn expect_deliveries(&mut self, count: usize) -> Vec<u64> {
        let tags = (0..count).map(|_| self.expect_delivery().delivery_tag);
        tags.collect()
    }
}
