//! The keys, a row each. A row is applied after those above it, and names are RabbitMQ's where it has
//! one.

use super::keys::{Effect, Key};
use super::section::Category;
use super::values::{
    ABSOLUTE, ANY_TEXT, FLAG, FORMAT, LEVEL, LISTENER, LOG_FILE, LOGIN_FROM, MECHANISM,
    MISSING_FLAG, MISSING_TEXT, PATH, PORT_OR_NONE, QUEUE_TYPE, RELATIVE, REVOCATION, SAN_KIND,
    TEXT, TLS_VERSION, VERIFY, missing_number, missing_size, number, optional_number, size,
};

macro_rules! plain {
    ($effect:ident, $name:literal, $kind:expr, [$($field:tt)+], $doc:literal) => {
        plain!($effect, $name, $kind, [$($field)+], $doc, false)
    };
    ($effect:ident, $name:literal, $kind:expr, [$($field:tt)+], $doc:literal, $secret:literal) => {
        Key {
            name: $name,
            doc: $doc,
            effect: Effect::$effect,
            secret: $secret,
            wants: || ($kind.wants)(),
            clear: |_| {},
            set: |config, _, text| {
                let value = ($kind.parse)(text);
                let is_fit = value.is_some();
                if let Some(value) = value {
                    config.$($field)+ = value;
                }
                is_fit
            },
            show: |config| {
                let shown = ($kind.show)(&config.$($field)+);
                shown.into_iter().map(|value| (String::new(), value)).collect()
            },
            copy: |to, from| to.$($field)+ = from.$($field)+.clone(),
        }
    };
}

/// A list whose members' names only put them apart.
macro_rules! list {
    ($effect:ident, $name:literal, $kind:expr, [$($field:tt)+], $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            effect: Effect::$effect,
            secret: false,
            wants: || ($kind.wants)(),
            clear: |config| config.$($field)+.clear(),
            set: |config, _, text| {
                let value = ($kind.parse)(text);
                let is_fit = value.is_some();
                config.$($field)+.extend(value);
                is_fit
            },
            show: |config| {
                let shown = config.$($field)+.iter().filter_map(|value| ($kind.show)(value));
                shown.enumerate().map(|(index, value)| ((index + 1).to_string(), value)).collect()
            },
            copy: |to, from| to.$($field)+.clone_from(&from.$($field)+),
        }
    };
}

/// A set of names, `true` for those that are in it.
macro_rules! set {
    ($effect:ident, $name:literal, [$($field:tt)+], $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            effect: Effect::$effect,
            secret: false,
            wants: || (FLAG.wants)(),
            clear: |config| config.$($field)+.clear(),
            set: |config, member, text| {
                let value = (FLAG.parse)(text);
                if value == Some(true) {
                    config.$($field)+.push(member.to_owned());
                }
                value.is_some()
            },
            show: |config| {
                let members = config.$($field)+.iter();
                members.map(|member| (member.clone(), "true".to_owned())).collect()
            },
            copy: |to, from| to.$($field)+.clone_from(&from.$($field)+),
        }
    };
}

/// Files by name. A name is as good as any that is none of a host: nobody asks for it.
macro_rules! files {
    ($effect:ident, $name:literal, [$($field:tt)+], $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            effect: Effect::$effect,
            secret: false,
            wants: || (PATH.wants)(),
            clear: |config| config.$($field)+.clear(),
            set: |config, member, text| {
                let file = (PATH.parse)(text).flatten();
                let is_fit = file.is_some();
                config.$($field)+.extend(file.map(|file| (member.to_ascii_lowercase(), file)));
                is_fit
            },
            show: |config| {
                let files = config.$($field)+.iter();
                files.map(|(name, file)| (name.clone(), file.display().to_string())).collect()
            },
            copy: |to, from| to.$($field)+.clone_from(&from.$($field)+),
        }
    };
}

/// `none` for an empty list; others are members of a family, in a row of their own.
macro_rules! none {
    ($effect:ident, $name:literal, [$($field:tt)+], $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            effect: Effect::$effect,
            secret: false,
            wants: || "none".to_owned(),
            clear: |_| {},
            set: |config, _, text| {
                config.$($field)+.clear();
                text == "none"
            },
            show: |config| {
                let is_empty = config.$($field)+.is_empty();
                is_empty.then(|| (String::new(), "none".to_owned())).into_iter().collect()
            },
            copy: |_, _| {},
        }
    };
}

const DEFAULT: usize = Category::Default as usize;
const CONNECTION: usize = Category::Connection as usize;
const CHANNEL: usize = Category::Channel as usize;
const QUEUE: usize = Category::Queue as usize;
const STORE: usize = Category::Store as usize;

pub(super) static KEYS: &[Key] = &[
    // Listening
    plain!(
        Restart,
        "port",
        number::<u16, 0, 65535>(),
        [port],
        "AMQP port of all addresses that name none; 0 takes a free one. (leveret)"
    ),
    list!(
        Restart,
        "listeners.tcp.$",
        LISTENER,
        [bind],
        "What to listen on for AMQP: a port, an address (127.0.0.1:5672, [::1]:5672, localhost) or\n\
         unix:PATH; any name in place of the star. Without, all IPv6 and IPv4 addresses."
    ),
    Key {
        name: "listeners.tcp",
        doc: "none: no AMQP without TLS.",
        effect: Effect::Restart,
        secret: false,
        wants: || "none; addresses are listeners.tcp.1 and so on".to_owned(),
        clear: |_| {},
        set: |config, _, text| {
            config.listen_plain = false;
            text == "none"
        },
        show: |config| {
            let none = (!config.listen_plain).then(|| (String::new(), "none".to_owned()));
            none.into_iter().collect()
        },
        copy: |to, from| to.listen_plain = from.listen_plain,
    },
    list!(
        Restart,
        "listeners.ssl.$",
        LISTENER,
        [tls.bind],
        "As listeners.tcp.*, for AMQP over TLS. Without, port 5671 as soon as there are a certfile and a\n\
         keyfile."
    ),
    Key {
        name: "listeners.ssl",
        doc: "none: no AMQP over TLS.",
        effect: Effect::Restart,
        secret: false,
        wants: || "none; addresses are listeners.ssl.1 and so on".to_owned(),
        clear: |_| {},
        set: |config, _, text| {
            config.tls.listen = false;
            text == "none"
        },
        show: |config| {
            let none = (!config.tls.listen).then(|| (String::new(), "none".to_owned()));
            none.into_iter().collect()
        },
        copy: |to, from| to.tls.listen = from.tls.listen,
    },
    plain!(
        Restart,
        "proxy_protocol",
        FLAG,
        [proxy_protocol],
        "Connections over TCP begin with a proxy's header (PROXY protocol 1 or 2), the address in it is\n\
         the client's, and one without is refused."
    ),
    plain!(
        Restart,
        "tcp_listen_options.backlog",
        number::<u32, 1, 1_000_000>(),
        [tcp.backlog],
        "Connections that wait to be accepted; net.core.somaxconn cuts it down."
    ),
    plain!(
        Restart,
        "tcp_listen_options.nodelay",
        FLAG,
        [tcp.nodelay],
        "Small writes go out at once (TCP_NODELAY)."
    ),
    plain!(
        Restart,
        "tcp_listen_options.keepalive",
        FLAG,
        [tcp.keepalive],
        "The operating system looks after silent peers (SO_KEEPALIVE)."
    ),
    plain!(
        Restart,
        "tcp_listen_options.recbuf",
        missing_number::<u32, 1024, 0x4000_0000>(),
        [tcp.receive_buffer],
        "Bytes of each connection's receive buffer; without, the operating system sizes it."
    ),
    plain!(
        Restart,
        "tcp_listen_options.sndbuf",
        missing_number::<u32, 1024, 0x4000_0000>(),
        [tcp.send_buffer],
        "Bytes of each connection's send buffer; without, the operating system sizes it."
    ),
    // TLS
    plain!(
        Reload,
        "ssl_options.cacertfile",
        PATH,
        [tls.options.ca_file],
        "PEM file of the authorities whose signatures on clients' certificates are believed."
    ),
    plain!(
        Reload,
        "ssl_options.certfile",
        PATH,
        [tls.options.certificate_file],
        "PEM file of the broker's certificate and the chain behind it."
    ),
    plain!(
        Reload,
        "ssl_options.keyfile",
        PATH,
        [tls.options.key_file],
        "PEM file of its key: PKCS#8, PKCS#1 or SEC1, not encrypted."
    ),
    plain!(
        Reload,
        "ssl_options.password",
        MISSING_TEXT,
        [tls.options.key_password],
        "Password of the key file. Encrypted keys cannot be read: the broker does not start with one.",
        true
    ),
    plain!(
        Reload,
        "ssl_options.verify",
        VERIFY,
        [tls.options.verify],
        "verify_peer: clients are asked for a certificate, and one that they show must be good."
    ),
    plain!(
        Reload,
        "ssl_options.fail_if_no_peer_cert",
        FLAG,
        [tls.options.fail_if_no_peer_certificate],
        "With verify_peer, and only then: clients must have a certificate."
    ),
    plain!(
        Reload,
        "ssl_options.depth",
        number::<u8, 0, 255>(),
        [tls.options.depth],
        "Most certificates that a client may show between its own and the authority's."
    ),
    list!(
        Reload,
        "ssl_options.versions.$",
        TLS_VERSION,
        [tls.options.versions],
        "tlsv1.2 or tlsv1.3; without, both."
    ),
    plain!(
        Reload,
        "ssl_options.crlfile",
        PATH,
        [tls.options.revocation_file],
        "PEM file of revocation lists: clients' certificates on them are not good any more. (leveret)"
    ),
    plain!(
        Reload,
        "ssl_options.crl_check",
        REVOCATION,
        [tls.options.revocation_check],
        "With a crlfile. true, or nothing: all certificates of a client's chain must be on no list, and a\n\
         current list must be there for each; peer: only its own; best_effort: those that have no list are\n\
         good; false: all are."
    ),
    files!(
        Reload,
        "ssl_options.sni.certfile.$",
        [tls.options.sni_certificate_files],
        "As ssl_options.certfile, for clients that ask for this host, whose name is in place of the star;\n\
         *.example.org means all hosts right below. Those that ask for another get the first. (leveret)"
    ),
    files!(
        Reload,
        "ssl_options.sni.keyfile.$",
        [tls.options.sni_key_files],
        "PEM file of the key to that. (leveret)"
    ),
    plain!(
        Reload,
        "ssl_cert_login_from",
        LOGIN_FROM,
        [tls.login_from],
        "What a certificate's user is called by (EXTERNAL): distinguished_name, common_name or\n\
         subject_alternative_name."
    ),
    plain!(
        Reload,
        "ssl_cert_login_san_type",
        SAN_KIND,
        [tls.login_san_kind],
        "Which kind of alternative name: dns, ip, email, uri or other_name."
    ),
    plain!(
        Reload,
        "ssl_cert_login_san_index",
        number::<usize, 0, 1000>(),
        [tls.login_san_index],
        "Which of those, from 0."
    ),
    plain!(
        Reload,
        "ssl_handshake_timeout",
        number::<u64, 1, 3_600_000>(),
        [tls.handshake_timeout_ms],
        "A TLS handshake may take so many milliseconds, and so may a proxy's header."
    ),
    // HTTP
    plain!(
        Restart,
        "management.tcp.port",
        PORT_OR_NONE,
        [http_port],
        "Port of the management API and its page, or none; 0 takes a free one."
    ),
    plain!(
        Restart,
        "management.tcp.ip",
        MISSING_TEXT,
        [http_ip],
        "Its address; without, that of AMQP if it has but one, else all of them."
    ),
    plain!(
        Restart,
        "management.ssl.port",
        PORT_OR_NONE,
        [https.port],
        "Port of the management API over TLS (RabbitMQ: 15671)."
    ),
    plain!(
        Restart,
        "management.ssl.ip",
        MISSING_TEXT,
        [https.ip],
        "Its address; without, all of them."
    ),
    plain!(
        Restart,
        "management.ssl.cacertfile",
        PATH,
        [https.options.ca_file],
        "As ssl_options.cacertfile, for the management API."
    ),
    plain!(
        Restart,
        "management.ssl.certfile",
        PATH,
        [https.options.certificate_file],
        "As ssl_options.certfile; without, the ssl_options hold here, too."
    ),
    plain!(
        Restart,
        "management.ssl.keyfile",
        PATH,
        [https.options.key_file],
        "As ssl_options.keyfile."
    ),
    plain!(
        Restart,
        "management.ssl.verify",
        VERIFY,
        [https.options.verify],
        "As ssl_options.verify."
    ),
    plain!(
        Restart,
        "management.ssl.fail_if_no_peer_cert",
        FLAG,
        [https.options.fail_if_no_peer_certificate],
        "As ssl_options.fail_if_no_peer_cert."
    ),
    plain!(
        Restart,
        "management.ssl.depth",
        number::<u8, 0, 255>(),
        [https.options.depth],
        "As ssl_options.depth."
    ),
    plain!(
        Restart,
        "management.ssl.password",
        MISSING_TEXT,
        [https.options.key_password],
        "As ssl_options.password.",
        true
    ),
    list!(
        Restart,
        "management.ssl.versions.$",
        TLS_VERSION,
        [https.options.versions],
        "As ssl_options.versions.*."
    ),
    plain!(
        Restart,
        "prometheus.tcp.port",
        PORT_OR_NONE,
        [prometheus_port],
        "Port of the metrics for Prometheus, or none; 0 takes a free one."
    ),
    plain!(
        Restart,
        "prometheus.tcp.ip",
        MISSING_TEXT,
        [prometheus_ip],
        "Its address; without, that of AMQP if it has but one, else all of them."
    ),
    // Users
    plain!(
        Restart,
        "default_user",
        TEXT,
        [access.default_user],
        "The user of a broker that starts for the first time."
    ),
    plain!(
        Restart,
        "default_pass",
        ANY_TEXT,
        [access.default_password],
        "The user's password.",
        true
    ),
    plain!(
        Restart,
        "default_vhost",
        TEXT,
        [access.default_virtual_host],
        "The virtual host of a broker that starts for the first time."
    ),
    plain!(
        Restart,
        "default_permissions.configure",
        ANY_TEXT,
        [access.default_configure],
        "What the user may declare and delete there, a regular expression."
    ),
    plain!(
        Restart,
        "default_permissions.write",
        ANY_TEXT,
        [access.default_write],
        "What the user may publish to there."
    ),
    plain!(
        Restart,
        "default_permissions.read",
        ANY_TEXT,
        [access.default_read],
        "What the user may consume from there."
    ),
    set!(
        Restart,
        "default_user_tags.$",
        [access.default_tags],
        "The user's tags: default_user_tags.administrator = true."
    ),
    none!(
        Reload,
        "loopback_users",
        [access.loopback_users],
        "none: every user may come from everywhere."
    ),
    set!(
        Reload,
        "loopback_users.$",
        [access.loopback_users],
        "Users who may come from this machine only: loopback_users.guest = true."
    ),
    list!(
        Reload,
        "auth_mechanisms.$",
        MECHANISM,
        [access.mechanisms],
        "How clients may log in: PLAIN, AMQPLAIN, EXTERNAL. Without, the first two. EXTERNAL is for those\n\
         who have shown a good certificate."
    ),
    Key {
        name: "auth_backends.$",
        doc: "internal: users are the broker's own. There is no other.",
        effect: Effect::Restart,
        secret: false,
        wants: || "internal".to_owned(),
        clear: |_| {},
        set: |_, _, text| text == "internal" || text == "rabbit_auth_backend_internal",
        show: |_| Vec::new(),
        copy: |_, _| {},
    },
    plain!(
        Restart,
        "load_definitions",
        PATH,
        [load_definitions],
        "Definitions to import at start, as RabbitMQ exports them."
    ),
    plain!(
        Reload,
        "default_queue_type",
        QUEUE_TYPE,
        [default_queue_type],
        "What queues are that do not say (x-queue-type) in virtual hosts that do not say either: classic,\n\
         quorum or stream. Without, classic."
    ),
    // Connections
    plain!(
        Reload,
        "heartbeat",
        number::<u16, 0, 65535>(),
        [limits.heartbeat_seconds],
        "Seconds between heartbeats, as proposed to clients; 0 for none."
    ),
    plain!(
        Reload,
        "frame_max",
        number::<u32, 4096, 0x800_0000>(),
        [limits.frame_max_bytes],
        "Largest frame in bytes; what clients may negotiate."
    ),
    plain!(
        Reload,
        "initial_frame_max",
        number::<u32, 4096, 0x800_0000>(),
        [limits.initial_frame_max_bytes],
        "Largest frame before that."
    ),
    plain!(
        Reload,
        "channel_max",
        number::<u16, 0, 65535>(),
        [limits.channel_max],
        "Most channels of a connection; 0 for no limit."
    ),
    plain!(
        Reload,
        "channel_max_per_node",
        optional_number::<u32, 0, 0xffff_ffff>(),
        [limits.channels_max],
        "Most channels of the whole broker."
    ),
    plain!(
        Reload,
        "connection_max",
        optional_number::<u32, 0, 0xffff_ffff>(),
        [limits.connections_max],
        "Most connections of the whole broker."
    ),
    plain!(
        Reload,
        "handshake_timeout",
        number::<u64, 100, 3_600_000>(),
        [limits.handshake_timeout_ms],
        "A connection that is not open after so many milliseconds is dropped."
    ),
    plain!(
        Reload,
        "closing_timeout",
        number::<u64, 100, 3_600_000>(),
        [limits.closing_timeout_ms],
        "One that does not answer connection.close within this is dropped. (leveret)"
    ),
    plain!(
        Reload,
        "consumer_timeout",
        optional_number::<u64, 1000, 0xffff_ffff_ffff>(),
        [limits.consumer_timeout_ms],
        "A delivery that is not settled after so many milliseconds closes its channel."
    ),
    plain!(
        Reload,
        "max_message_size",
        size::<u64, 0, 0x2000_0000>(),
        [limits.message_size_max_bytes],
        "Largest message body; a larger one closes its channel. No message may take more than a fourth of\n\
         what is under vm_memory_high_watermark."
    ),
    // Memory and disk
    plain!(
        Reload,
        "vm_memory_high_watermark.absolute",
        ABSOLUTE,
        [watermarks.memory],
        "Publishers are blocked when the broker takes more memory than this."
    ),
    plain!(
        Reload,
        "vm_memory_high_watermark.relative",
        RELATIVE,
        [watermarks.memory],
        "The same as a share of the memory it may have; wins over .absolute."
    ),
    plain!(
        Reload,
        "memory_limit",
        missing_size::<0x200_0000, 0x1000_0000_0000>(),
        [limits.memory_bytes_max],
        "The resident memory of the whole process stays under this: the watermark and what clients may have\n\
         it hold are shares of it; from three quarters on nothing is declared and nobody comes in. (leveret)"
    ),
    plain!(
        Reload,
        "disk_free_limit.absolute",
        ABSOLUTE,
        [watermarks.disk_free],
        "Publishers are blocked when less than this is free on the data directory's disk."
    ),
    plain!(
        Reload,
        "disk_free_limit.relative",
        RELATIVE,
        [watermarks.disk_free],
        "The same as a share of the machine's memory; wins over .absolute."
    ),
    plain!(
        Reload,
        "message_memory.budget",
        size::<usize, 0x10_0000, 0x100_0000_0000>(),
        [limits.messages_bytes_budget],
        "Messages beyond this are on the disk only, and read back when their turn comes. (leveret)"
    ),
    plain!(
        Reload,
        "message_memory.max",
        size::<usize, 0x10_0000, 0x100_0000_0000>(),
        [limits.messages_bytes_max],
        "Publishers are blocked when messages in memory take more than this. (leveret)"
    ),
    plain!(
        Restart,
        "outbox_max",
        size::<usize, 4096, 0x4000_0000>(),
        [limits.outbox_bytes_max],
        "A client for which more waits to be written gets no deliveries and is not read. (leveret)"
    ),
    plain!(
        Restart,
        "read_max",
        size::<usize, 4096, 0x400_0000>(),
        [limits.read_bytes_max],
        "Read from one client before the next has its turn. (leveret)"
    ),
    plain!(
        Reload,
        "turn_max",
        size::<usize, 4096, 0x4000_0000>(),
        [limits.turn_bytes_max],
        "Read from all clients before what they caused is written. (leveret)"
    ),
    // The data directory, and the process
    plain!(
        Restart,
        "data_dir",
        PATH,
        [data_dir],
        "Where definitions and messages live. (leveret)"
    ),
    plain!(
        Restart,
        "sync_interval",
        number::<u64, 1, 60_000>(),
        [sync_interval_ms],
        "What nobody waits for is on stable storage after so many milliseconds. (leveret)"
    ),
    plain!(
        Restart,
        "spin",
        number::<u64, 0, 1_000_000>(),
        [spin_us],
        "The loop and the disk thread look for more to do for so many microseconds before they sleep: lower latency, for a processor each while there is traffic. (leveret)"
    ),
    plain!(
        Reload,
        "stop_timeout",
        number::<u64, 0, 600_000>(),
        [limits.stop_timeout_ms],
        "A broker that stops waits so many milliseconds for its clients' goodbye. (leveret)"
    ),
    plain!(
        Restart,
        "pid_file",
        PATH,
        [pid_file],
        "The process id is written there. (leveret)"
    ),
    plain!(
        Reload,
        "cluster_name",
        TEXT,
        [server.cluster_name],
        "What the broker is called, to clients and on the management page."
    ),
    plain!(
        Restart,
        "node_name",
        TEXT,
        [server.node_name],
        "RabbitMQ's node name, as traces show it. (leveret)"
    ),
    plain!(
        Reload,
        "server_product",
        TEXT,
        [server.product],
        "What it says it is: clients choose their behaviour by it. (leveret)"
    ),
    plain!(
        Reload,
        "server_version",
        TEXT,
        [server.version],
        "And of which version. (leveret)"
    ),
    // The log
    plain!(
        Reload,
        "log.console",
        MISSING_FLAG,
        [log.console],
        "Whether to log to standard error; without, if there is no log.file."
    ),
    plain!(
        Reload,
        "log.console.level",
        LEVEL,
        [log.console_level],
        "What the console gets at most: error, warning, info, debug, trace or none."
    ),
    plain!(
        Reload,
        "log.console.formatter",
        FORMAT,
        [log.console_format],
        "plaintext or json."
    ),
    plain!(
        Reload,
        "log.file",
        LOG_FILE,
        [log.file],
        "A file to log to, in log.dir unless it is a whole path; opened anew on SIGHUP."
    ),
    plain!(
        Reload,
        "log.file.level",
        LEVEL,
        [log.file_level],
        "What the file gets at most."
    ),
    plain!(
        Reload,
        "log.file.formatter",
        FORMAT,
        [log.file_format],
        "plaintext or json."
    ),
    plain!(
        Reload,
        "log.dir",
        PATH,
        [log.dir],
        "Without, the data directory."
    ),
    plain!(
        Reload,
        "log.exchange",
        FLAG,
        [log.exchange],
        "Whether to publish the log to the exchange amq.rabbitmq.log of the default virtual host."
    ),
    plain!(
        Reload,
        "log.exchange.level",
        LEVEL,
        [log.exchange_level],
        "What the exchange gets at most; the level is the routing key."
    ),
    plain!(
        Reload,
        "log.exchange.formatter",
        FORMAT,
        [log.exchange_format],
        "plaintext or json."
    ),
    plain!(
        Reload,
        "event_exchange",
        FLAG,
        [event_exchange.is_on],
        "Whether to publish what happens to the exchange amq.rabbitmq.event, as RabbitMQ's plugin\n\
         does. (leveret)"
    ),
    plain!(
        Reload,
        "event_exchange.vhost",
        MISSING_TEXT,
        [event_exchange.virtual_host],
        "The virtual host of that exchange; without, the default one."
    ),
    plain!(
        Reload,
        "log.default.level",
        LEVEL,
        [log.levels[DEFAULT]],
        "What is logged at most, for all that have no level of their own."
    ),
    plain!(
        Reload,
        "log.connection.level",
        LEVEL,
        [log.levels[CONNECTION]],
        "Connections, logins."
    ),
    plain!(
        Reload,
        "log.channel.level",
        LEVEL,
        [log.levels[CHANNEL]],
        "Channels: publishing and consuming."
    ),
    plain!(
        Reload,
        "log.queue.level",
        LEVEL,
        [log.levels[QUEUE]],
        "Queues, exchanges and bindings."
    ),
    plain!(
        Reload,
        "log.store.level",
        LEVEL,
        [log.levels[STORE]],
        "The data directory. (leveret)"
    ),
];

/// RabbitMQ's second names.
pub(super) const ALIASES: [(&str, &str); 5] = [
    ("management.listener.port", "management.tcp.port"),
    ("management.listener.ip", "management.tcp.ip"),
    ("management.load_definitions", "load_definitions"),
    ("definitions.local.path", "load_definitions"),
    ("max_connections", "connection_max"),
];
