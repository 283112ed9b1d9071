//! Command lines that are not right, help, and commands that need no broker.

use super::broker::{Run, run};

fn alone(arguments: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), arguments, "")
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_in_rabbitmqs_words() {
    for (arguments, code, begin) in [
        (
            &["add_vhost"][..],
            64,
            "Error (argument validation): not enough arguments.\nArguments given:\n\tadd_vhost\n\nUsage\n\nleveretctl [--node <node>] [--longnames] [--quiet] add_vhost <vhost>",
        ),
        (
            &["add_vhost", "a", "b"],
            64,
            "Error (argument validation): too many arguments.\nArguments given:\n\tadd_vhost a b\n",
        ),
        (
            &["list_queues", "--bogus"],
            64,
            "Error (argument validation): Invalid options for this command:\n--bogus : \n",
        ),
        (
            &["list_queues", "--if-empty"],
            64,
            "Error (argument validation): Invalid options for this command:\n--if-empty : \n",
        ),
        (
            &["list_queues", "-t", "x"],
            64,
            "Error (argument validation): Invalid options for this command:\n-t : x\n",
        ),
        (
            &["add_user", "u", "sesame", "x"],
            64,
            "Error (argument validation): too many arguments.\nArguments given:\n\tadd_user u *** ***\n",
        ),
        (
            &["set_vm_memory_high_watermark", "1.4"],
            65,
            "Error (argument validation): Bad argument: The threshold should be a fraction between 0.0 and 1.0\n",
        ),
        (
            &["list_queue"],
            64,
            "\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n",
        ),
        (&["bogus"], 64, "\nCommand 'bogus' not found. \n\nUsage\n"),
        (
            &["--formatter", "bogus", "list_users"],
            64,
            "Error: there is no formatter 'bogus'.",
        ),
        (
            &["join_cluster", "x"],
            64,
            "Error: join_cluster is not supported: ",
        ),
        (&["eval", "1."], 64, "Error: eval is not supported: "),
        (
            &["encode", "x", "y"],
            64,
            "Error: encrypted configuration values are not supported",
        ),
        (
            &["--host", "h", "--socket", "s", "ping"],
            64,
            "Error: --socket and --data-dir mean",
        ),
        (&[], 64, "\nUsage\n\nleveretctl "),
    ] {
        let run = alone(arguments);
        assert_eq!((run.code, &*run.out), (code, ""), "{arguments:?}");
        assert!(run.err.starts_with(begin), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn help_and_versions_need_no_broker() {
    for arguments in [
        &["help"][..],
        &["--help"],
        &["help", "list_queues"],
        &["list_queues", "--help"],
        &["version"],
        &["--version"],
        &["autocomplete", "list_q"],
        &["tls_versions"],
        &["cipher_suites"],
        &["hash_password", "x"],
    ] {
        let run = alone(arguments);
        assert_eq!((run.code, &*run.err), (0, ""), "{arguments:?}");
        assert!(!run.out.is_empty());
    }
    assert_eq!(alone(&["autocomplete", "list_q"]).out, "list_queues\n");
    assert_eq!(
        alone(&["--version"]).out,
        format!("{}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = alone(&["help", "list_queues"]).out;
    assert!(
        help.contains("<column>\n\tmust be one of arguments, auto_delete,"),
        "{help}"
    );
}

#[test]
fn hashes_are_as_long_as_rabbitmqs_and_never_the_same() {
    let [one, other] = [0, 1].map(|_| alone(&["hash_password", "x"]).out);
    assert_eq!(one.trim().len(), 48);
    assert_ne!(one, other);
}

#[test]
fn it_answers_to_rabbitmqs_names() {
    let directory = tempfile::tempdir().unwrap();
    let called = |name: &str, arguments: &[&str]| {
        let link = directory.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leveretctl"), &link).unwrap();
        let output = std::process::Command::new(link)
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, help) = called("rabbitmqctl", &["help", "add_user"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("\nrabbitmqctl [--node <node>]"), "{help}");
    let (_, names) = called("rabbitmq-diagnostics", &["autocomplete", "check_p"]);
    assert_eq!(
        names,
        "check_port_connectivity\ncheck_port_listener\ncheck_protocol_listener\n"
    );
    let (code, plugins) = called("rabbitmq-plugins", &["enable", "rabbitmq_management"]);
    assert_eq!(code, Some(0));
    assert!(plugins.contains("built in"), "{plugins}");
}
