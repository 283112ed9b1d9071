//! Lists, their columns and their forms.

use super::ScriptedBroker;

const QUEUES: &str = r#"[
    {"name":"hello","messages":0,"arguments":{}},
    {"name":"q ü","messages":3,"arguments":{"x-max-length":100,"x-dead-letter-exchange":"ex"}}
]"#;

#[test]
fn queues_as_the_tutorials_list_them() {
    let broker = ScriptedBroker::start();
    broker.answers(
        "GET /api/queues/%2F?columns=name,messages_ready,messages_unacknowledged&disable_stats=true&enable_queue_totals=true",
        200,
        r#"[{"name":"hello","messages_ready":0,"messages_unacknowledged":1}]"#,
    );
    broker.prints(
        &[
            "list_queues",
            "name",
            "messages_ready",
            "messages_unacknowledged",
        ],
        "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n\
         name\tmessages_ready\tmessages_unacknowledged\nhello\t0\t1\n",
    );
}

#[test]
fn lists_have_columns_and_forms_of_ones_choice() {
    let broker = ScriptedBroker::start();
    broker.answers(
        "GET /api/queues/v?columns=name,messages&disable_stats=true&enable_queue_totals=true",
        200,
        QUEUES,
    );
    broker.answers(
        "GET /api/queues/v?columns=messages,arguments&disable_stats=true&enable_queue_totals=true",
        200,
        QUEUES,
    );
    broker.prints(&["list_queues", "-p", "v", "-s"], "hello\t0\nq ü\t3\n");
    broker.prints(
        &[
            "list_queues",
            "-p",
            "v",
            "-q",
            "--no-table-headers",
            "messages,arguments",
        ],
        "0\t[]\n3\t[{\"x-dead-letter-exchange\",\"ex\"},{\"x-max-length\",100}]\n",
    );
    broker.prints(
        &["list_queues", "-p", "v", "--formatter", "json"],
        "[\n{\"name\":\"hello\",\"messages\":0}\n,{\"name\":\"q ü\",\"messages\":3}\n]\n",
    );
    broker.prints(
        &["list_queues", "-p", "v", "--formatter=csv"],
        "\"name\",\"messages\"\n\"hello\",\"0\"\n\"q ü\",\"3\"\n",
    );
}

#[test]
fn lists_of_a_virtual_host_that_is_not_there_are_empty() {
    let broker = ScriptedBroker::start();
    broker.prints(
        &["list_exchanges", "-p", "nope"],
        "Listing exchanges for vhost nope ...\n",
    );
    broker.prints(
        &["list_bindings", "-p", "nope", "--formatter", "json"],
        "[\n]\n",
    );
    broker.fails(
        &["list_permissions", "-p", "nope"],
        65,
        "Virtual host 'nope' does not exist\n",
    );
}

#[test]
fn unknown_columns_are_named() {
    let broker = ScriptedBroker::start();
    let run = broker.run(&["list_queues", "name", "bogus"]);
    assert_eq!((run.code, &*run.out), (64, ""));
    assert!(
        run.err.starts_with(
            "Error (argument validation): Info key(s) bogus are not supported\nArguments given:\n\tlist_queues name bogus\n"
        ),
        "{run:?}"
    );
}

#[test]
fn users_are_listed_with_their_tags() {
    let broker = ScriptedBroker::start();
    broker.answers(
        "GET /api/users",
        200,
        r#"[{"name":"guest","tags":["administrator"]},{"name":"u","tags":["a","b"]},{"name":"v","tags":[]}]"#,
    );
    broker.prints(
        &["list_users"],
        "Listing users ...\nuser\ttags\nguest\t[administrator]\nu\t[a, b]\nv\t[]\n",
    );
}

#[test]
fn connections_channels_and_consumers_have_rabbitmqs_columns() {
    let broker = ScriptedBroker::start();
    broker.answers(
        "GET /api/connections?columns=user,peer_host,peer_port,state",
        200,
        r#"[{"user":"u","peer_host":"127.0.0.1","peer_port":5,"state":"running"}]"#,
    );
    broker.prints(
        &["list_connections"],
        "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nu\t127.0.0.1\t5\trunning\n",
    );
    broker.answers(
        "GET /api/connections?columns=pid,name,protocol",
        200,
        r#"[{"name":"a -> b","protocol":"AMQP 0-9-1"}]"#,
    );
    broker.prints(
        &["-s", "list_connections", "pid", "protocol"],
        "a -> b\t{0,9,1}\n",
    );
    broker.answers(
        "GET /api/channels?columns=pid,name,user,consumer_count,messages_unacknowledged",
        200,
        r#"[{"name":"a -> b (1)","user":"u","consumer_count":1,"messages_unacknowledged":2}]"#,
    );
    broker.prints(&["-s", "list_channels"], "a -> b (1)\tu\t1\t2\n");
    broker.answers(
        "GET /api/consumers/%2F?columns=queue.name,consumer_tag,arguments",
        200,
        r#"[{"queue":{"name":"q","vhost":"/"},"consumer_tag":"t","arguments":{"x-priority":5}}]"#,
    );
    broker.prints(
        &[
            "-s",
            "list_consumers",
            "queue_name",
            "consumer_tag",
            "arguments",
        ],
        "q\tt\t[{\"x-priority\",5}]\n",
    );
}
