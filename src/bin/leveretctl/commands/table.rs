//! The table of commands: names, arguments and options as RabbitMQ 3.10 and later have them, and what
//! carries them out.

use crate::failure::Failure;
use crate::help::Tool;
use crate::output::Output;
use crate::session::Session;

use super::Group::*;
use super::{
    Command, Group, connections, definitions, diagnostics, limits, listing, local, node,
    parameters, permissions, plugins, policies, queues, status, streams, users, virtual_hosts,
};

/// Under which names of the program help shows a command.
type Tools = &'static [Tool];

const CTL: Tools = &[Tool::Rabbitmqctl];
const CTLDIAG: Tools = &[Tool::Rabbitmqctl, Tool::Diagnostics];
const DIAG: Tools = &[Tool::Diagnostics];
const DIAGQ: Tools = &[Tool::Diagnostics, Tool::Queues];
const QUEUES: Tools = &[Tool::Queues];
const PLUGINS: Tools = &[Tool::Plugins];
const EVERY: Tools = &[
    Tool::Rabbitmqctl,
    Tool::Diagnostics,
    Tool::Queues,
    Tool::Plugins,
];

type Run = fn(&mut Session) -> Result<Output, Failure>;

/// A command without options of its own.
const fn command(
    group: Group,
    name: &'static str,
    usage: &'static str,
    arguments: (usize, usize),
    summary: &'static str,
    run: Run,
    tools: Tools,
) -> Command {
    Command {
        name,
        usage,
        summary,
        group,
        tools,
        arguments,
        options: &[],
        secret_from: None,
        columns: None,
        details: &[],
        check: None,
        run,
    }
}

const POLICY: &[(&str, &str)] = &[
    (
        "<pattern>",
        "regular expression that names of queues and exchanges match",
    ),
    ("<definition>", "JSON: what the policy says"),
    (
        "--priority <priority>",
        "which policy counts, if several match: the highest (default: 0)",
    ),
    (
        "--apply-to <what>",
        "queues, exchanges or all (default: all)",
    ),
];

#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    command(Help, "autocomplete", "[prefix] [--timeout <timeout>]", (1, 1),
        "Completes names of commands", local::autocomplete, EVERY),
    command(Help, "help", "<command>", (0, 1),
        "Shows how a command is used", local::help, EVERY),
    command(Help, "version", "", (0, 0),
        "Shows the version of this tool", local::version, EVERY),

    command(Nodes, "await_startup", "", (0, 0),
        "Waits until the broker answers", node::await_startup, CTL),
    command(Nodes, "reset", "", (0, 0),
        "Empties a broker that was stopped with stop_app: queues, users, everything", node::reset, CTL),
    command(Nodes, "force_reset", "", (0, 0),
        "Empties a broker that was stopped with stop_app, whatever state it is in", node::force_reset, CTL),
    command(Nodes, "rotate_logs", "", (0, 0),
        "Opens the log file anew", node::rotate_logs, CTL),
    Command {
        options: &["wait"],
        details: &[
            ("--no-wait", "return at once"),
        ],
        ..command(Nodes, "shutdown", "[--wait] [--timeout <timeout>]", (0, 0),
        "Stops the broker and waits for its process to end", node::shutdown, CTL)
    },
    command(Nodes, "start_app", "", (0, 0),
        "Accepts connections again after stop_app", node::start_app, CTL),
    Command {
        options: &["idempotent"],
        details: &[
            ("<pidfile>", "file with the process id to wait for; see shutdown for doing without"),
            ("--idempotent", "success even if no broker is running"),
        ],
        ..command(Nodes, "stop", "[--idempotent] [<pidfile>]", (0, 1),
        "Stops the broker; with the file of its process id, waits for the end", node::stop, CTL)
    },
    command(Nodes, "stop_app", "", (0, 0),
        "Closes all connections and accepts no more; the process stays", node::stop_app, CTL),
    Command {
        options: &["pid"],
        check: Some(node::check_wait),
        ..command(Nodes, "wait", "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]", (0, 1),
        "Waits for a process, by the file of its id or by its id, and until the broker answers", node::wait, CTLDIAG)
    },

    command(Cluster, "cluster_status", "", (0, 0),
        "Shows the cluster, which is this node", status::cluster_status, CTLDIAG),

    Command {
        options: &["pre-hashed-password"],
        secret_from: Some(1),
        details: &[
            ("<username>", "name of the user"),
            ("<password>", "asked for on standard input if it is left out"),
            ("--pre-hashed-password", "it is a hash, as hash_password and export_definitions show"),
        ],
        ..command(Users, "add_user", "<username> <password>", (1, 2),
        "Creates a user who has no permissions yet", users::add, CTL)
    },
    Command {
        secret_from: Some(1),
        ..command(Users, "authenticate_user", "<username> <password>", (1, 2),
        "Checks a password; the exit status says whether it is right", users::authenticate, CTL)
    },
    Command {
        secret_from: Some(1),
        ..command(Users, "change_password", "<username> <password>", (1, 2),
        "Changes a user's password", users::change_password, CTL)
    },
    command(Users, "clear_password", "<username>", (1, 1),
        "Removes a user's password: nobody can log in with one", users::clear_password, CTL),
    command(Users, "clear_user_limits", "<username> <limit_type> | all", (2, 2),
        "Removes limits of a user", limits::clear_of_user, CTL),
    command(Users, "delete_user", "<username>", (1, 1),
        "Removes a user, and closes their connections", users::delete, CTL),
    Command {
        secret_from: Some(0),
        ..command(Users, "hash_password", "<cleartext_password>", (0, 1),
        "Hashes a password as definitions have it", local::hash_password, CTL)
    },
    Command {
        options: &["global"],
        ..command(Users, "list_user_limits", "[--user <username>] [--global]", (0, 0),
        "Lists limits of a user, or of all", limits::list_of_user, CTLDIAG)
    },
    command(Users, "list_users", "[--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists users and their tags", users::list, CTLDIAG),
    Command {
        details: &[
            ("<definition>", "JSON: max-connections, max-channels; -1 is no limit"),
        ],
        ..command(Users, "set_user_limits", "<username> <definition>", (2, 2),
        "Sets limits of a user", limits::set_of_user, CTL)
    },
    command(Users, "set_user_tags", "<username> <tag> [...]", (1, ANY),
        "Replaces a user's tags", users::set_tags, CTL),

    command(Access, "clear_permissions", "[--vhost <vhost>] <username>", (1, 1),
        "Removes a user's permissions in a virtual host", permissions::clear, CTL),
    command(Access, "clear_topic_permissions", "[--vhost <vhost>] <username> [<exchange>]", (1, 2),
        "Removes a user's topic permissions on an exchange, or on all", permissions::clear_topic, CTL),
    command(Access, "list_permissions", "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists who may do what in a virtual host", permissions::list, CTLDIAG),
    command(Access, "list_topic_permissions", "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists topic permissions in a virtual host", permissions::list_topic, CTLDIAG),
    command(Access, "list_user_permissions", "[--no-table-headers] <username> [--timeout <timeout>]", (1, 1),
        "Lists what a user may do in each virtual host", permissions::list_of_user, CTLDIAG),
    command(Access, "list_user_topic_permissions", "[--no-table-headers] <username> [--timeout <timeout>]", (1, 1),
        "Lists a user's topic permissions in each virtual host", permissions::list_topic_of_user, CTLDIAG),
    Command {
        columns: Some(listing::VIRTUAL_HOSTS),
        check: Some(listing::check_virtual_hosts),
        ..command(Access, "list_vhosts", "[--no-table-headers] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists virtual hosts", virtual_hosts::list, CTLDIAG)
    },
    Command {
        details: &[
            ("<conf> <write> <read>", "regular expressions that names of queues and exchanges match; '^$' is nothing"),
        ],
        ..command(Access, "set_permissions", "[--vhost <vhost>] <username> <conf> <write> <read>", (4, 4),
        "Sets what a user may configure, write and read in a virtual host", permissions::set, CTL)
    },
    command(Access, "set_topic_permissions", "[--vhost <vhost>] <username> <exchange> <write> <read>", (4, 4),
        "Sets which routing keys a user may publish with and bind by", permissions::set_topic, CTL),

    Command {
        columns: Some(listing::BINDINGS),
        check: Some(listing::check_bindings),
        ..command(Monitoring, "list_bindings", "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists bindings", listing::bindings, CTLDIAG)
    },
    Command {
        columns: Some(listing::CHANNELS),
        check: Some(listing::check_channels),
        ..command(Monitoring, "list_channels", "[--no-table-headers] [<column> ...]", (0, ANY),
        "Lists channels", listing::channels, CTLDIAG)
    },
    Command {
        columns: Some(listing::CONNECTIONS),
        check: Some(listing::check_connections),
        ..command(Monitoring, "list_connections", "[--no-table-headers] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists connections", listing::connections, CTLDIAG)
    },
    Command {
        columns: Some(listing::CONSUMERS),
        check: Some(listing::check_consumers),
        ..command(Monitoring, "list_consumers", "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists consumers", listing::consumers, CTLDIAG)
    },
    Command {
        columns: Some(listing::EXCHANGES),
        check: Some(listing::check_exchanges),
        ..command(Monitoring, "list_exchanges", "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists exchanges", listing::exchanges, CTLDIAG)
    },
    Command {
        options: &["online", "offline", "local"],
        columns: Some(listing::QUEUES),
        check: Some(listing::check_queues),
        ..command(Monitoring, "list_queues", "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] [--timeout <timeout>]", (0, ANY),
        "Lists queues; counts are those of this instant", listing::queues, CTLDIAG)
    },
    Command {
        options: &["local"],
        ..command(Monitoring, "list_unresponsive_queues", "[--local] [--queue-timeout <milliseconds>] [--vhost <vhost>] [<column> ...] [--timeout <timeout>]", (0, ANY),
        "Lists queues that do not answer, of which there are none", listing::unresponsive_queues, CTLDIAG)
    },
    command(Monitoring, "list_node_auth_attempt_stats", "", (0, 0),
        "Counts logins that were tried", status::auth_attempts, CTLDIAG),
    command(Monitoring, "ping", "", (0, 0),
        "Checks that the broker answers", node::ping, CTLDIAG),
    command(Monitoring, "report", "", (0, 0),
        "Shows status and lists in one go, for whoever helps", status::report, CTLDIAG),
    command(Monitoring, "status", "", (0, 0),
        "Shows how the broker is", status::status, CTLDIAG),
    command(Monitoring, "alarms", "", (0, 0),
        "Lists alarms that block publishers", status::alarms, DIAG),
    command(Monitoring, "check", "[<directory>]", (0, 1),
        "Says what a stopped broker's data directory holds, and whether it is sound", local::check, DIAG),
    command(Monitoring, "check_alarms", "", (0, 0),
        "Fails if there is an alarm", diagnostics::check_alarms, DIAG),
    Command {
        options: &["within", "unit"],
        check: Some(diagnostics::check_certificate_arguments),
        details: &[
            ("--within <period>", "how soon (default: 4)"),
            ("--unit <unit>", "days, weeks, months or years (default: weeks)"),
        ],
        ..command(Monitoring, "check_certificate_expiration", "[--within <period>] [--unit <unit>]", (0, 0),
        "Fails if a certificate expires soon", diagnostics::check_certificates, DIAG)
    },
    command(Monitoring, "check_if_node_is_mirror_sync_critical", "", (0, 0),
        "Succeeds: there are no copies on other nodes", diagnostics::check_copies, DIAGQ),
    command(Monitoring, "check_if_node_is_quorum_critical", "", (0, 0),
        "Succeeds: there is no quorum to lose", diagnostics::check_copies, DIAGQ),
    command(Monitoring, "check_local_alarms", "", (0, 0),
        "Fails if there is an alarm", diagnostics::check_local_alarms, DIAG),
    command(Monitoring, "check_port_connectivity", "[--timeout <timeout>]", (0, 0),
        "Connects to each port that the broker listens on", diagnostics::check_port_connectivity, DIAG),
    Command {
        check: Some(diagnostics::check_port),
        ..command(Monitoring, "check_port_listener", "<port> [--timeout <timeout>]", (1, 1),
        "Fails if the broker does not listen on a port", diagnostics::check_port_listener, DIAG)
    },
    command(Monitoring, "check_protocol_listener", "<protocol> [--timeout <timeout>]", (1, 1),
        "Fails if the broker does not listen for a protocol", diagnostics::check_protocol_listener, DIAG),
    command(Monitoring, "check_running", "[--timeout <timeout>]", (0, 0),
        "Fails if the broker is not running", diagnostics::check_running, DIAG),
    command(Monitoring, "check_virtual_hosts", "[--timeout <timeout>]", (0, 0),
        "Fails if a virtual host is not running", diagnostics::check_virtual_hosts, DIAG),
    Command {
        options: &["format", "all"],
        check: Some(local::check_cipher_format),
        ..command(Monitoring, "cipher_suites", "[--format <openssl | iana>] [--all]", (0, 0),
        "Lists cipher suites of TLS", local::cipher_suites, DIAG)
    },
    Command {
        options: &["duration", "pattern"],
        ..command(Monitoring, "consume_event_stream", "[--duration|-d <seconds>] [--pattern <pattern>]", (0, 0),
        "Shows events as they happen, a JSON document a line", streams::consume_event_stream, DIAG)
    },
    command(Monitoring, "is_booting", "[--timeout <timeout>]", (0, 0),
        "Says that the broker has started", diagnostics::is_booting, DIAG),
    command(Monitoring, "is_running", "[--timeout <timeout>]", (0, 0),
        "Fails if the broker is not running", diagnostics::is_running, DIAG),
    command(Monitoring, "listeners", "[--timeout <timeout>]", (0, 0),
        "Lists what the broker listens on", status::listeners, DIAG),
    Command {
        options: &["number"],
        details: &[
            ("--number <number>", "how many (default: 50)"),
        ],
        ..command(Monitoring, "log_tail", "[--number|-N <number>] [--timeout <timeout>]", (0, 0),
        "Shows the last lines of the log", streams::log_tail, DIAG)
    },
    Command {
        options: &["duration"],
        ..command(Monitoring, "log_tail_stream", "[--duration|-d <seconds>]", (0, 0),
        "Shows the log as it is written", streams::log_tail_stream, DIAG)
    },
    Command {
        options: &["unit"],
        check: Some(status::check_unit),
        details: &[
            ("--unit <unit>", "bytes, kb, mb, gb or tb (default: gb)"),
        ],
        ..command(Monitoring, "memory_breakdown", "[--unit <unit>]", (0, 0),
        "Shows what memory is used for", status::memory_breakdown, DIAG)
    },
    command(Monitoring, "message_size_stats", "", (0, 0),
        "Counts published messages by their size", status::message_sizes, DIAG),
    command(Monitoring, "server_version", "", (0, 0),
        "Shows the broker's version", status::server_version, DIAG),
    command(Monitoring, "tls_versions", "", (0, 0),
        "Lists versions of TLS", local::tls_versions, DIAG),

    command(Parameters, "clear_global_parameter", "<name>", (1, 1),
        "Removes a global runtime parameter", parameters::clear_global, CTL),
    command(Parameters, "clear_parameter", "[--vhost <vhost>] <component_name> <name>", (2, 2),
        "Removes a runtime parameter", parameters::clear, CTL),
    command(Parameters, "list_global_parameters", "[--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists global runtime parameters", parameters::list_global, CTLDIAG),
    command(Parameters, "list_parameters", "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists runtime parameters of a virtual host", parameters::list, CTLDIAG),
    command(Parameters, "set_global_parameter", "<name> <value>", (2, 2),
        "Sets a global runtime parameter, which is JSON", parameters::set_global, CTL),
    command(Parameters, "set_parameter", "[--vhost <vhost>] <component_name> <name> <value>", (3, 3),
        "Sets a runtime parameter, which is JSON", parameters::set, CTL),

    command(Policies, "clear_operator_policy", "[--vhost <vhost>] <name>", (1, 1),
        "Removes an operator policy", policies::clear_operator, CTL),
    command(Policies, "clear_policy", "[--vhost <vhost>] <name>", (1, 1),
        "Removes a policy", policies::clear, CTL),
    command(Policies, "list_operator_policies", "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists operator policies of a virtual host", policies::list_operator, CTLDIAG),
    command(Policies, "list_policies", "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", (0, 0),
        "Lists policies of a virtual host", policies::list, CTLDIAG),
    Command {
        options: &["priority", "apply-to"],
        details: POLICY,
        ..command(Policies, "set_operator_policy", "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", (3, 3),
        "Sets an operator policy, which bounds what policies and arguments say", policies::set_operator, CTL)
    },
    Command {
        options: &["priority", "apply-to"],
        details: POLICY,
        ..command(Policies, "set_policy", "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", (3, 3),
        "Sets a policy", policies::set, CTL)
    },

    Command {
        options: &["description", "tags", "default-queue-type"],
        ..command(VirtualHosts, "add_vhost", "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]", (1, 1),
        "Creates a virtual host", virtual_hosts::add, CTL)
    },
    command(VirtualHosts, "clear_vhost_limits", "[--vhost <vhost>]", (0, 0),
        "Removes limits of a virtual host", limits::clear_of_vhost, CTL),
    command(VirtualHosts, "delete_vhost", "<vhost>", (1, 1),
        "Removes a virtual host with all that is in it, and closes its connections", virtual_hosts::delete, CTL),
    command(VirtualHosts, "disable_vhost_deletion_protection", "<vhost>", (1, 1),
        "Lets a virtual host be deleted again", virtual_hosts::unprotect, CTL),
    command(VirtualHosts, "enable_vhost_deletion_protection", "<vhost>", (1, 1),
        "Keeps a virtual host from being deleted", virtual_hosts::protect, CTL),
    Command {
        options: &["global"],
        ..command(VirtualHosts, "list_vhost_limits", "[--vhost <vhost>] [--global] [--no-table-headers]", (0, 0),
        "Lists limits of a virtual host, or of all", limits::list_of_vhost, CTLDIAG)
    },
    Command {
        details: &[
            ("<definition>", "JSON: max-connections, max-queues; -1 is no limit"),
        ],
        ..command(VirtualHosts, "set_vhost_limits", "[--vhost <vhost>] <definition>", (1, 1),
        "Sets limits of a virtual host", limits::set_of_vhost, CTL)
    },
    command(VirtualHosts, "set_vhost_tags", "<vhost> <tag> [...]", (1, ANY),
        "Replaces a virtual host's tags", virtual_hosts::set_tags, CTL),
    command(VirtualHosts, "trace_off", "[--vhost <vhost>]", (0, 0),
        "Stops copying messages to amq.rabbitmq.trace", virtual_hosts::trace_off, CTL),
    command(VirtualHosts, "trace_on", "[--vhost <vhost>]", (0, 0),
        "Copies every message that comes in or goes out to amq.rabbitmq.trace", virtual_hosts::trace_on, CTL),
    Command {
        options: &["description", "tags", "default-queue-type"],
        ..command(VirtualHosts, "update_vhost_metadata", "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]", (1, 1),
        "Changes a virtual host's description, tags or type of queues", virtual_hosts::update_metadata, CTL)
    },

    Command {
        options: &["cipher", "hash", "iterations"],
        secret_from: Some(0),
        ..command(Configuration, "decode", "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", (0, 2),
        "Is not supported: the configuration has no encrypted values", local::no_encryption, CTL)
    },
    Command {
        options: &["cipher", "hash", "iterations"],
        secret_from: Some(0),
        ..command(Configuration, "encode", "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", (0, 2),
        "Is not supported: the configuration has no encrypted values", local::no_encryption, CTL)
    },
    Command {
        options: &["cipher", "hash", "iterations"],
        secret_from: Some(0),
        ..command(Configuration, "encrypt_conf_value", "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", (0, 2),
        "Is not supported: the configuration has no encrypted values", local::no_encryption, CTL)
    },
    command(Configuration, "environment", "", (0, 0),
        "Shows the configuration that is in effect, and where it came from", status::environment, CTLDIAG),
    Command {
        options: &["all"],
        ..command(Configuration, "log_location", "[--timeout <timeout>]", (0, 0),
        "Shows where the log goes", status::log_location, DIAG)
    },
    command(Configuration, "set_cluster_name", "<name>", (1, 1),
        "Sets the name that clients and the web page see", node::set_cluster_name, CTL),
    Command {
        check: Some(node::check_disk_limit),
        ..command(Configuration, "set_disk_free_limit", "<disk_limit> | mem_relative <fraction>", (1, 2),
        "Sets how much of the disk must be free for publishers not to be blocked", node::set_disk_limit, CTL)
    },
    Command {
        options: &["category"],
        details: &[
            ("<log_level>", "debug, info, warning, error, critical or none"),
            ("--category <category>", "connection, channel, queue and so on"),
        ],
        ..command(Configuration, "set_log_level", "<log_level> [--category <category>]", (1, 1),
        "Sets what is logged, of everything or of a category", node::set_log_level, CTL)
    },
    Command {
        check: Some(node::check_memory_watermark),
        ..command(Configuration, "set_vm_memory_high_watermark", "<fraction> | absolute <value>", (1, 2),
        "Sets how much memory may be used before publishers are blocked", node::set_memory_watermark, CTL)
    },

    Command {
        options: &["format"],
        check: Some(definitions::check_export),
        details: &[("--data-dir <directory>", "also of a broker that does not run; nothing is changed there")],
        ..command(Definitions, "export_definitions", "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]", (1, 1),
        "Writes users, virtual hosts, queues and the like to a file, as JSON", definitions::export, CTL)
    },
    Command {
        options: &["format", "skip-if-unchanged"],
        check: Some(definitions::check_import),
        ..command(Definitions, "import_definitions", "<file_path | \"-\"> [--format <json | erlang>] [--skip-if-unchanged] [--timeout <timeout>]", (0, 1),
        "Declares what a file of definitions says; what is there stays", definitions::import, CTL)
    },

    Command {
        options: &["limit", "global", "per-connection-delay"],
        details: &[
            ("--global", "those of all virtual hosts"),
            ("--limit <limit>", "so many at most"),
            ("--per-connection-delay <delay>", "milliseconds between one and the next"),
        ],
        ..command(Operations, "close_all_connections", "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>", (1, 1),
        "Closes all connections of a virtual host, or of the broker", connections::close_all, CTL)
    },
    command(Operations, "close_all_user_connections", "<username> <explanation>", (2, 2),
        "Closes all connections of a user", connections::close_all_of_user, CTL),
    Command {
        details: &[
            ("<connection pid>", "what 'list_connections pid' or 'list_connections name' shows"),
        ],
        ..command(Operations, "close_connection", "<connection pid> <explanation>", (2, 2),
        "Closes a connection", connections::close, CTL)
    },
    command(Operations, "resume_listeners", "", (0, 0),
        "Accepts new connections again", node::resume_listeners, CTL),
    command(Operations, "suspend_listeners", "", (0, 0),
        "Accepts no new connections; those that are open stay", node::suspend_listeners, CTL),

    Command {
        options: &["if-empty", "if-unused"],
        details: &[
            ("--if-empty", "only if no messages are ready"),
            ("--if-unused", "only if there are no consumers"),
        ],
        ..command(Queues, "delete_queue", "<queue_name> [--if-empty|-e] [--if-unused|-u] [--timeout <timeout>]", (1, 1),
        "Removes a queue", queues::delete, CTL)
    },
    command(Queues, "purge_queue", "<queue> [--timeout <timeout>]", (1, 1),
        "Removes the messages of a queue that are ready", queues::purge, CTL),
    Command {
        check: Some(queues::check_peek),
        ..command(Queues, "peek", "[--vhost <vhost>] <queue> <pos>", (2, 2),
        "Shows a message without taking it out, by its place from 1", queues::peek, QUEUES)
    },
    Command {
        options: &["dry-run", "exchange", "limit", "rate", "routing-key", "search"],
        check: Some(queues::check_redrive),
        details: &[
            ("--exchange <exchange>", "where they are published as they are, instead of going back to where they died"),
            ("--routing-key <key>", "with this key, instead of the one that each has; alone, the name of a queue"),
            ("--search <text>", "only those with this text in the payload, the routing key or a header"),
            ("--limit <number>", "so many at most"),
            ("--rate <number>", "so many in a second at most"),
            ("--dry-run", "only tells how many would be moved"),
        ],
        ..command(Queues, "redrive", "[--vhost <vhost>] <queue> [--exchange <exchange>] [--routing-key <key>] [--search <text>] [--limit <number>] [--rate <number>] [--dry-run] [--timeout <timeout>]", (1, 1),
        "Moves dead letters back to where they died, or messages elsewhere", queues::redrive, QUEUES)
    },

    Command {
        options: &["offline", "online"],
        ..command(Plugins, "directories", "[--offline] [--online]", (0, 0),
        "Shows that there are none", plugins::directories, PLUGINS)
    },
    Command {
        options: &["all", "offline", "online"],
        ..command(Plugins, "disable", "<plugin> [<plugin>] | --all [--offline] [--online]", (0, ANY),
        "Says which cannot be disabled", plugins::disable, PLUGINS)
    },
    Command {
        options: &["all", "offline", "online"],
        ..command(Plugins, "enable", "<plugin> [<plugin>] | --all [--offline] [--online]", (0, ANY),
        "Says which are built in", plugins::enable, PLUGINS)
    },
    Command {
        options: &["offline", "online"],
        ..command(Plugins, "is_enabled", "<plugin1> [ <plugin2>] [--offline] [--online]", (1, ANY),
        "Fails if one of them is not built in", plugins::is_enabled, PLUGINS)
    },
    Command {
        options: &["verbose", "minimal", "enabled", "implicitly-enabled", "if-empty"],
        ..command(Plugins, "list", "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]", (0, 1),
        "Lists those that are built in", plugins::list, PLUGINS)
    },
    Command {
        options: &["offline", "online"],
        ..command(Plugins, "set", "<plugin> [<plugin>] [--offline] [--online]", (0, ANY),
        "Says which are built in", plugins::set, PLUGINS)
    },

    command(Deprecated, "node_health_check", "", (0, 0),
        "Checks that the broker runs and has no alarms", diagnostics::node_health_check, CTLDIAG),
];

/// Commands of RabbitMQ's that have no meaning here, and why.
#[rustfmt::skip]
pub const MEANINGLESS: &[(&[&str], &str)] = &[
    (&["await_online_nodes", "change_cluster_node_type", "force_boot", "forget_cluster_node", "join_cluster",
       "rename_cluster_node", "update_cluster_nodes", "discover_peers", "await_online_quorum_plus_one",
       "await_online_synchronized_mirror", "drain", "revive", "post_upgrade", "cluster_size"],
        "leveret runs on one machine, and there is no cluster to join or to leave."),
    (&["add_member", "delete_member", "grow", "shrink", "rebalance", "quorum_status", "reclaim_quorum_memory",
       "transfer_leadership", "add_replica", "delete_replica", "stream_status", "restart_stream", "sync_queue",
       "cancel_sync_queue", "check_if_new_quorum_queue_replicas_have_finished_initial_sync"],
        "queues are on one machine, without members on others."),
    (&["eval", "eval_file", "exec", "force_gc", "remote_shell", "observer", "erlang_version", "erlang_cookie_hash",
       "erlang_cookie_sources", "runtime_thread_stats", "maybe_stuck", "hipe_compile", "schema_info",
       "command_line_arguments", "os_env", "resolver_info", "resolve_hostname", "list_network_interfaces"],
        "leveret does not run on Erlang."),
    (&["list_feature_flags", "enable_feature_flag", "list_deprecated_features", "is_deprecated_feature_used"],
        "there are no feature flags; everything is enabled."),
    (&["restart_vhost"], "virtual hosts cannot fail one by one."),
    (&["list_ciphers", "list_hashes"], "configuration values are not encrypted."),
    (&["certificates"], "certificates are not shown; see check_certificate_expiration."),
    (&["enable_auth_attempt_source_tracking", "disable_auth_attempt_source_tracking",
       "reset_node_auth_attempt_metrics"],
        "attempts to log in are always counted, and only per protocol."),
];

/// As many arguments as one likes.
const ANY: usize = usize::MAX;
