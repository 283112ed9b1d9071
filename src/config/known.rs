//! Keys that RabbitMQ knows and that have no meaning here: a file that has them is no mistake, and its
//! owner is told once what becomes of them.

/// Why this key has no effect, if RabbitMQ knows it.
pub(super) fn reason(key: &str) -> Option<&'static str> {
    let fits = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == name,
    };
    KNOWN
        .iter()
        .find(|(_, names)| names.iter().any(|name| fits(name)))
        .map(|(why, _)| *why)
}

/// Whether somebody may believe to be safer by it than he is.
pub(super) fn is_about_safety(key: &str) -> bool {
    key.starts_with("ssl_options.") || key.starts_with("management.ssl.")
}

/// A star stands for any end.
const KNOWN: [(&str, &[&str]); 15] = [
    (
        "one thread serves all connections",
        &[
            "num_acceptors.*",
            "default_worker_pool_size",
            "delegate_count",
        ],
    ),
    (
        "there is no Erlang here",
        &[
            "erlang.*",
            "hipe_compile",
            "background_gc_enabled",
            "background_gc_target_interval",
            "socket_writer.gc_threshold",
            "sysmon_handler.*",
            "kernel.*",
            "vm_memory_calculation_strategy",
        ],
    ),
    (
        "there is no cluster",
        &[
            "cluster_formation.*",
            "cluster_partition_handling*",
            "cluster_keepalive_interval",
            "cluster_queue_limit",
            "cluster_tags.*",
            "node_tags.*",
            "distribution.*",
            "net_ticktime",
            "mirroring_sync_*",
            "queue_master_locator",
            "queue_leader_locator",
            "raft.*",
            "quorum_queue.*",
            "mnesia_table_loading_*",
            "metadata_store.*",
            "khepri*",
        ],
    ),
    (
        "the store sizes itself",
        &[
            "msg_store_*",
            "message_store_shutdown_timeout",
            "queue_index_*",
            "classic_queue.*",
            "vm_memory_high_watermark_paging_ratio",
            "vhost_restart_strategy",
        ],
    ),
    (
        "alarms are looked after all the time",
        &["memory_monitor_interval", "disk_monitor*"],
    ),
    (
        "nothing is deprecated here",
        &["deprecated_features.*", "default_policies.*"],
    ),
    (
        "counters cost nothing and are always on",
        &[
            "collect_statistics*",
            "management_agent.*",
            "management.disable_stats",
            "management.enable_queue_totals",
            "management.rates_mode",
            "management.sample_retention_policies.*",
            "management.db_cache_multiplier",
            "prometheus.return_per_object_metrics",
            "prometheus.path",
        ],
    ),
    (
        "the management API and the metrics have no use for it",
        &["management.*", "prometheus.*"],
    ),
    ("names of peers are not looked up", &["reverse_dns_lookups"]),
    (
        "the log goes to the console and a file; rotate the file from outside and send SIGHUP",
        &[
            "log.syslog",
            "log.syslog.*",
            "log.journald",
            "log.journald.*",
            "log.console.stdio",
            "log.console.use_colors",
            "log.console.color_esc_seqs.*",
            "log.console.formatter.*",
            "log.file.formatter.*",
            "log.file.rotation.*",
            "log.default.rotation.*",
            "log.connection.file",
            "log.connection.rotation.*",
            "log.channel.file",
            "log.channel.rotation.*",
            "log.queue.file",
            "log.queue.rotation.*",
            "log.mirroring.*",
            "log.federation.*",
            "log.upgrade.*",
            "log.ra.*",
            "log.prelaunch.*",
            "motd_file",
        ],
    ),
    (
        "this protocol or plugin is not built in",
        &[
            "mqtt.*",
            "stomp.*",
            "web_mqtt.*",
            "web_stomp.*",
            "stream.*",
            "amqp1_0.*",
            "trust_store.*",
            "event_exchange.protocol",
            "federation.*",
            "shovel.*",
            "aws.*",
            "tracing.*",
        ],
    ),
    (
        "users are the broker's own",
        &[
            "auth_ldap.*",
            "auth_http.*",
            "auth_oauth2.*",
            "auth_cache.*",
            "password_hashing_module",
            "credential_validator.*",
        ],
    ),
    (
        "TLS follows its library in this",
        &[
            "ssl_options.bypass_pem_cache",
            "ssl_options.ciphers.*",
            "ssl_options.client_renegotiation",
            "ssl_options.dh",
            "ssl_options.dhfile",
            "ssl_options.honor_cipher_order",
            "ssl_options.honor_ecc_order",
            "ssl_options.log_alert",
            "ssl_options.log_level",
            "ssl_options.psk_identity",
            "ssl_options.reuse_sessions",
            "ssl_options.secure_renegotiate",
            "ssl_allow_poodle_attack",
            "definitions.*",
        ],
    ),
    (
        "certificates and keys are read from files",
        &[
            "ssl_options.cacerts.*",
            "ssl_options.cert",
            "ssl_options.key.*",
        ],
    ),
    (
        "it has no counterpart here",
        &[
            "ssl_options",
            "tcp_listen_options",
            "tcp_listen_options.fd",
            "tcp_listen_options.port",
            "tcp_listen_options.buffer",
            "tcp_listen_options.delay_send",
            "tcp_listen_options.dontroute",
            "tcp_listen_options.exit_on_close",
            "tcp_listen_options.high_msgq_watermark",
            "tcp_listen_options.high_watermark",
            "tcp_listen_options.linger.on",
            "tcp_listen_options.linger.timeout",
            "tcp_listen_options.low_msgq_watermark",
            "tcp_listen_options.low_watermark",
            "tcp_listen_options.priority",
            "tcp_listen_options.send_timeout",
            "tcp_listen_options.send_timeout_close",
            "tcp_listen_options.tos",
            "product.*",
            "total_memory_available_override_value",
            "queue_deletion_*",
            "max_message_size_*",
            "permit_deprecated_features.*",
            "consumer_max_per_channel",
            "session_max_per_connection",
            "link_max_per_session",
            "target_address.*",
            "anonymous_login_*",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rabbitmqs_keys_are_known_and_no_others() {
        for key in [
            "num_acceptors.tcp",
            "queue_master_locator",
            "cluster_formation.dns.hostname",
            "deprecated_features.permit.queue_master_locator",
            "log.file.rotation.date",
            "ssl_options.honor_cipher_order",
            "management.ssl.honor_cipher_order",
        ] {
            assert!(reason(key).is_some(), "{key}");
        }
        for key in [
            "heartbeats",
            "num_acceptors",
            "",
            "log",
            "listener.tcp.1",
            "ssl_options.certfil",
        ] {
            assert_eq!(reason(key), None, "{key}");
        }
    }
}
