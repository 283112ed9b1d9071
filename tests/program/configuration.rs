//! Files, environment, command line: which of them counts, and what is said about mistakes.

use std::process::{Command, Output};

use tempfile::TempDir;

use crate::process::{LOCAL, Program, home, leveret};
use crate::support::{Login, RawClient};

fn run_in(home: &TempDir, command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.current_dir(home.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn print_config(home: &TempDir, command: &mut Command) -> String {
    let (code, out, err) = run_in(home, command.arg("--print-config"));
    assert_eq!(code, Some(0), "{err}");
    out
}

/// The line for a key, its blanks made one.
#[track_caller]
fn line(text: &str, key: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.split(" = ").next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("no {key} in\n{text}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_bad_value_refuses_to_start_and_says_where_and_why() {
    let home = home(&[(
        "bad.conf",
        "# ours\nheartbeat = 30\nframe_max = huge\nchannel_max = 70000\n",
    )]);
    let (code, out, err) = run_in(&home, &mut leveret(&["--config", "bad.conf"]));
    assert_eq!(code, Some(78));
    assert_eq!(out, "");
    assert_eq!(
        err,
        "leveret: bad.conf:3: frame_max = huge cannot be, it wants a number from 4096 to 134217728\n\
         leveret: bad.conf:4: channel_max = 70000 cannot be, it wants a number from 0 to 65535\n"
    );
    assert!(!home.path().join("leveret-data").exists());
}

#[test]
fn a_missing_or_misspelt_file_refuses_to_start() {
    let home = home(&[("bad.conf", "heartbeat: 30\n")]);
    let (code, _, err) = run_in(&home, &mut leveret(&["--config", "none.conf"]));
    assert_eq!(code, Some(78));
    assert!(
        err.starts_with("leveret: none.conf: cannot be read: "),
        "{err}"
    );
    let (code, _, err) = run_in(&home, &mut leveret(&["--config", "bad.conf"]));
    assert_eq!(code, Some(78));
    assert_eq!(err, "leveret: bad.conf:1: no 'key = value'\n");
}

#[test]
fn a_bad_value_on_the_command_line_is_a_usage_error() {
    let home = home(&[]);
    let (code, _, err) = run_in(&home, &mut leveret(&["--bind", "1:2:3"]));
    assert_eq!(code, Some(64), "{err}");
    assert!(err.contains("--bind") && err.contains("1:2:3"), "{err}");
}

#[test]
fn an_unknown_key_is_warned_of_with_its_place() {
    let home = home(&[("odd.conf", "heartbeats = 30\nnum_acceptors.tcp = 10\n")]);
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &["-c", "odd.conf"]].concat()));
    let log = program.stop();
    for line in [
        "WARN  leveret: odd.conf:1: unknown key heartbeats, ignored",
        "INFO  leveret: odd.conf:2: num_acceptors.tcp has no effect: one thread serves all connections",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[test]
fn the_command_line_beats_the_environment_and_that_the_file() {
    let home = home(&[
        (
            "a.conf",
            "data_dir = of-file\nlisteners.tcp.1 = 127.0.0.1:1\nlisteners.tcp.2 = 127.0.0.1:2\n\
             default_user = file\nheartbeat = 7\n",
        ),
        ("conf.d/b.conf", "cluster_name = b\n"),
    ]);
    let mut command = leveret(&["--config", "a.conf"]);
    let text = print_config(&home, &mut command);
    assert_eq!(line(&text, "data_dir"), "data_dir = of-file # a.conf:1");
    assert_eq!(
        line(&text, "listeners.tcp.2"),
        "listeners.tcp.2 = 127.0.0.1:2 # a.conf:3"
    );
    assert_eq!(
        line(&text, "cluster_name"),
        "cluster_name = b # ./conf.d/b.conf:1"
    );
    assert_eq!(line(&text, "frame_max"), "frame_max = 131072 # default");

    let of_environment = |arguments: &[&str]| {
        let mut command = leveret(arguments);
        command
            .env("LEVERET_CONFIG_FILE", "a.conf")
            .env("LEVERET_DATA_DIR", "of-environment")
            .env("RABBITMQ_NODE_PORT", "3")
            .env("RABBITMQ_DEFAULT_USER", "environment")
            .env("RABBITMQ_DEFAULT_PASS", "topsecret");
        command
    };
    let text = print_config(&home, &mut of_environment(&[]));
    assert_eq!(
        line(&text, "data_dir"),
        "data_dir = of-environment # LEVERET_DATA_DIR"
    );
    assert_eq!(
        line(&text, "default_user"),
        "default_user = environment # RABBITMQ_DEFAULT_USER"
    );
    assert_eq!(
        line(&text, "default_pass"),
        "default_pass = ******** # RABBITMQ_DEFAULT_PASS"
    );
    assert_eq!(
        line(&text, "listeners.tcp.default"),
        "listeners.tcp.default = 3 # RABBITMQ_NODE_PORT"
    );
    assert_eq!(line(&text, "heartbeat"), "heartbeat = 7 # a.conf:5");
    assert!(!text.contains("127.0.0.1:2"), "{text}");

    let mut command = of_environment(&["--data-dir", "of-command-line", "--port", "4"]);
    let text = print_config(&home, &mut command);
    assert_eq!(
        line(&text, "data_dir"),
        "data_dir = of-command-line # --data-dir"
    );
    assert_eq!(
        line(&text, "listeners.tcp.default"),
        "listeners.tcp.default = 4 # --port"
    );
}

#[test]
fn what_is_printed_is_a_configuration_again() {
    let home = home(&[(
        "a.conf",
        "heartbeat = 7\ncluster_name = 'a # b'\nlog.file = x.log\n",
    )]);
    let text = print_config(&home, &mut leveret(&["--config", "a.conf"]));
    std::fs::write(home.path().join("b.conf"), &text).unwrap();
    let again = print_config(&home, &mut leveret(&["--config", "b.conf"]));
    let settings = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                line.rsplit_once('#')
                    .map_or("", |(setting, _)| setting)
                    .to_owned()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(settings(&text), settings(&again));
}

#[test]
fn a_file_of_rabbitmq_starts_a_broker() {
    let home = home(&[(
        "rabbitmq.conf",
        "listeners.tcp.1 = 127.0.0.1:0\nheartbeat = 30\nloopback_users.guest = false\n\
         tcp_listen_options.backlog = 128\ntcp_listen_options.keepalive = true\n\
         tcp_listen_options.sndbuf = 65536\ntcp_listen_options.linger.on = true\n\
         log.console = true\nlog.console.level = debug\nqueue_master_locator = min-masters\n",
    )]);
    let mut command = leveret(&[]);
    command.env("RABBITMQ_CONFIG_FILE", "rabbitmq");
    let program = Program::start_in(home, command);
    program.client().close();
    let log = program.stop();
    assert!(!log.contains("unknown") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_limit_of_the_file_is_kept() {
    let home = home(&[("a.conf", "max_message_size = 10\n")]);
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &["-c", "a.conf"]].concat()));
    let mut client = program.client();
    client.open_channel(1);
    client.publish("", "nowhere", "eleven bytes");
    client.expect_channel_close(
        406,
        "PRECONDITION_FAILED - message size 12 is larger than configured max size 10",
    );
}

#[test]
fn a_first_start_takes_user_and_virtual_host_from_the_environment() {
    let mut command = leveret(&LOCAL);
    command
        .env("RABBITMQ_DEFAULT_USER", "app")
        .env("RABBITMQ_DEFAULT_PASS", "secret")
        .env("RABBITMQ_DEFAULT_VHOST", "own");
    let program = Program::start(command);
    let mut client = RawClient::connect(program.address.parse().unwrap());
    client.open_connection(&Login {
        response: b"\0app\0secret",
        virtual_host: b"own",
        ..Login::default()
    });
    client.open_channel(1);
    client.declare_queue("q");
}

/// README, "Security": who changes one of these changes that section, too.
#[test]
fn by_default_it_listens_where_the_readme_says_and_lets_in_whom_it_says() {
    let home = home(&[]);
    let printed = print_config(&home, &mut leveret(&[]));
    for (key, value) in [
        ("port", "5672"),
        ("management.tcp.port", "15672"),
        ("prometheus.tcp.port", "15692"),
        ("default_user", "guest"),
        ("default_pass", "********"),
        ("loopback_users.guest", "true"),
        ("handshake_timeout", "10000"),
        ("ssl_options.verify", "verify_none"),
        ("management.ssl.port", "none"),
    ] {
        let found = line(&printed, key);
        assert!(found.starts_with(&format!("{key} = {value} #")), "{found}");
    }
    let set: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for absent in ["listeners.ssl.1", "listeners.tcp.1"] {
        assert!(!set.iter().any(|line| line.starts_with(absent)), "{absent}");
    }
}
