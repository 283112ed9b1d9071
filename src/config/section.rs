//! Parts of [`Config`](super::Config): what belongs together in a file stands together here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use log::LevelFilter;

use crate::wire::x509::NameKind;

/// AMQP over TLS: `listeners.ssl.*` and `ssl_options.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// As [`Config::bind`](super::Config::bind). Empty: port [`TLS_PORT`] of all addresses, if there is
    /// a certificate and a key.
    pub bind: Vec<String>,
    /// Whether AMQP is served over TLS at all (`listeners.ssl = none`).
    pub listen: bool,
    pub options: TlsOptions,
    /// What a client's certificate is known by when it logs in with EXTERNAL.
    pub login_from: LoginFrom,
    /// Which kind of alternative name, with [`LoginFrom::SubjectAlternativeName`].
    pub login_san_kind: NameKind,
    /// Which of those, from 0.
    pub login_san_index: usize,
    /// A TLS handshake may take this long, with a proxy's header before it; a client that needs longer is
    /// dropped.
    pub handshake_timeout_ms: u64,
}

/// AMQP over TLS, as registered with IANA.
pub const TLS_PORT: u16 = 5671;

impl Tls {
    /// What to listen on, with [`TLS_PORT`] where an address names no port.
    pub fn addresses(&self) -> Vec<String> {
        let has_certificate =
            self.options.certificate_file.is_some() && self.options.key_file.is_some();
        if !self.listen {
            Vec::new()
        } else if self.bind.is_empty() && has_certificate {
            vec![TLS_PORT.to_string()]
        } else {
            self.bind.clone()
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            bind: Vec::new(),
            listen: true,
            options: TlsOptions::default(),
            login_from: LoginFrom::default(),
            login_san_kind: NameKind::Dns,
            login_san_index: 0,
            handshake_timeout_ms: 5_000,
        }
    }
}

/// The management API over TLS: `management.ssl.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Https {
    /// `None`: it is not served.
    pub port: Option<u16>,
    /// Without, all addresses.
    pub ip: Option<String>,
    /// Without a certificate, those of AMQP hold.
    pub options: TlsOptions,
}

/// Certificates, and what is demanded of clients. All files are PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOptions {
    /// Whose signatures on clients' certificates are believed.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, and the chain behind it.
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Of the key file. Encrypted keys are not read: a broker that has one does not start.
    pub key_password: Option<String>,
    /// Whether clients' certificates are looked at.
    pub verify: Verify,
    /// A client without a certificate is refused; only with [`Verify::Peer`].
    pub fail_if_no_peer_certificate: bool,
    /// Most certificates that a client may show between its own and the authority's.
    pub depth: u8,
    /// Empty: all that we know.
    pub versions: Vec<TlsVersion>,
    /// Lists of certificates that were revoked. `None`: they are good until they end.
    pub revocation_file: Option<PathBuf>,
    /// How far the lists are believed; whole chains where nothing is said.
    pub revocation_check: Option<RevocationCheck>,
    /// Certificates for clients that ask for a host of that name; `*.example.org` is for all hosts right
    /// below. The key of each is in `sni_key_files`, under the same name.
    pub sni_certificate_files: BTreeMap<String, PathBuf>,
    pub sni_key_files: BTreeMap<String, PathBuf>,
}

/// Whose certificate must not have been revoked (RabbitMQ: `ssl_options.crl_check`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationCheck {
    /// The client's, and all on the way to the authority. One of which no list speaks is refused.
    Chain,
    /// The client's own.
    Peer,
    /// As `Chain`, but one of which no list speaks is good.
    BestEffort,
    /// Nobody's.
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    #[default]
    None,
    Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// RabbitMQ: `ssl_cert_login_from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginFrom {
    #[default]
    DistinguishedName,
    CommonName,
    SubjectAlternativeName,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions {
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_password: None,
            verify: Verify::None,
            fail_if_no_peer_certificate: false,
            depth: 1,
            versions: Vec::new(),
            revocation_file: None,
            revocation_check: None,
            sni_certificate_files: BTreeMap::new(),
            sni_key_files: BTreeMap::new(),
        }
    }
}

/// Options of listening sockets and of those they accept (RabbitMQ: `tcp_listen_options`).
#[derive(Clone, Debug, PartialEq)]
pub struct TcpOptions {
    /// Peers that wait to be accepted; the operating system may cut this down.
    pub backlog: u32,
    /// Small writes go out at once.
    pub nodelay: bool,
    /// The operating system looks after silent peers.
    pub keepalive: bool,
    /// Bytes of the receive buffer; without, the operating system sizes it.
    pub receive_buffer: Option<u32>,
    /// Bytes of the send buffer; without, the operating system sizes it.
    pub send_buffer: Option<u32>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions {
            backlog: 4096,
            nodelay: true,
            keepalive: false,
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

/// The user, virtual host and permissions of a broker that starts for the first time, and how one may
/// log in.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub default_user: String,
    pub default_password: String,
    pub default_virtual_host: String,
    pub default_tags: Vec<String>,
    /// Regular expressions.
    pub default_configure: String,
    pub default_write: String,
    pub default_read: String,
    /// Users who may come from this machine only.
    pub loopback_users: Vec<String>,
    /// SASL mechanisms. Empty: PLAIN and AMQPLAIN.
    pub mechanisms: Vec<Mechanism>,
}

/// How a client may log in (SASL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    AmqPlain,
    /// By the certificate that it has shown (RabbitMQ: `rabbitmq_auth_mechanism_ssl`).
    External,
}

impl Mechanism {
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External];

    /// As in `connection.start`.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::AmqPlain => "AMQPLAIN",
            Mechanism::External => "EXTERNAL",
        }
    }
}

impl Access {
    /// The mechanisms that may be used.
    pub fn mechanisms(&self) -> &[Mechanism] {
        match &*self.mechanisms {
            [] => &[Mechanism::Plain, Mechanism::AmqPlain],
            some => some,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Access {
            default_user: "guest".to_owned(),
            default_password: "guest".to_owned(),
            default_virtual_host: "/".to_owned(),
            default_tags: vec!["administrator".to_owned()],
            default_configure: ".*".to_owned(),
            default_write: ".*".to_owned(),
            default_read: ".*".to_owned(),
            loopback_users: vec!["guest".to_owned()],
            mechanisms: Vec::new(),
        }
    }
}

/// RabbitMQ's resource alarms.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermarks {
    /// Resident memory beyond which publishers are blocked; relative to what this process may have.
    pub memory: Watermark,
    /// Free space on the data directory's disk below which publishers are blocked; relative to the
    /// machine's memory.
    pub disk_free: Watermark,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watermark {
    /// In bytes.
    Absolute(u64),
    /// Of something that is looked up when the broker runs. Never NaN.
    Relative(f64),
}

impl Eq for Watermark {}

impl Watermark {
    /// Bytes, with RabbitMQ's units; `None` if that is not what the text is.
    pub fn absolute(text: &str) -> Option<Watermark> {
        (super::values::ABSOLUTE.parse)(text)
    }

    /// A share of 0 or more; `None` if it is not.
    pub fn relative(share: f64) -> Option<Watermark> {
        (share.is_finite() && share >= 0.0).then_some(Watermark::Relative(share))
    }

    /// The limit in bytes, if the whole has so many.
    pub fn bytes(self, whole: u64) -> u64 {
        match self {
            Watermark::Absolute(bytes) => bytes,
            // Whole bytes are exact enough, and a share of more than everything stays in range.
            Watermark::Relative(share) => (whole as f64 * share) as u64,
        }
    }
}

impl Default for Watermarks {
    fn default() -> Self {
        Watermarks {
            memory: Watermark::Relative(0.6),
            disk_free: Watermark::Absolute(50_000_000),
        }
    }
}

/// The exchange `amq.rabbitmq.event` (RabbitMQ: `rabbitmq_event_exchange`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventExchange {
    /// It is declared, and gets the events while something is bound to it.
    pub is_on: bool,
    /// Without, the default virtual host.
    pub virtual_host: Option<String>,
}

/// Where lines of the log go, and which of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// To standard error. `None`: unless there is a file.
    pub console: Option<bool>,
    /// The console gets nothing beyond.
    pub console_level: Option<LevelFilter>,
    pub console_format: Format,
    /// Relative ones are in `dir`.
    pub file: Option<PathBuf>,
    /// The file gets nothing beyond.
    pub file_level: Option<LevelFilter>,
    pub file_format: Format,
    /// Without: the data directory.
    pub dir: Option<PathBuf>,
    /// To the exchange `amq.rabbitmq.log`.
    pub exchange: bool,
    /// The exchange gets nothing beyond.
    pub exchange_level: Option<LevelFilter>,
    pub exchange_format: Format,
    /// By [`Category`]; one without a level has that of [`Category::Default`].
    pub levels: [Option<LevelFilter>; CATEGORIES],
}

impl Log {
    /// The most detailed lines of this category that a destination gets which is limited to
    /// `own_level`.
    ///
    /// A level of the destination alone decides alone, up or down; where the category (or all of
    /// them) has one, too, a line has to pass both.
    pub fn level(&self, category: Category, own_level: Option<LevelFilter>) -> LevelFilter {
        let of_category = self.levels[category as usize];
        let of_all = self.levels[Category::Default as usize];
        match (of_category.or(of_all), own_level) {
            (Some(level), Some(own)) => level.min(own),
            (Some(level), None) | (None, Some(level)) => level,
            (None, None) => LevelFilter::Info,
        }
    }
}

/// A line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, where, what.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a line of the log is about, by the module that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Default,
    Connection,
    Channel,
    Queue,
    Store,
}

pub const CATEGORIES: usize = 5;

impl Category {
    pub const ALL: [Category; CATEGORIES] = [
        Category::Default,
        Category::Connection,
        Category::Channel,
        Category::Queue,
        Category::Store,
    ];

    /// Of lines by the path of their module, `leveret::protocol::amqp::channel`: the longest that fits.
    pub const OF_MODULES: &[(&str, Category)] = &MODULES;

    /// RabbitMQ's word for it where it has one: `log.connection.level`.
    pub fn name(self) -> &'static str {
        match self {
            Category::Default => "default",
            Category::Connection => "connection",
            Category::Channel => "channel",
            Category::Queue => "queue",
            Category::Store => "store",
        }
    }

    /// Of a line that a module logs, by its path.
    pub fn of_module(path: &str) -> Category {
        MODULES
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map_or(Category::Default, |(_, category)| *category)
    }
}

/// Longer paths before those they begin with.
const MODULES: [(&str, Category); 17] = [
    ("leveret::protocol::amqp::channel", Category::Channel),
    ("leveret::protocol::amqp::publish", Category::Channel),
    ("leveret::protocol::amqp::consume", Category::Channel),
    ("leveret::protocol::amqp::content", Category::Channel),
    ("leveret::protocol::amqp::transaction", Category::Channel),
    ("leveret::protocol::amqp::topology", Category::Queue),
    ("leveret::protocol::alarms", Category::Default),
    ("leveret::protocol::", Category::Connection),
    ("leveret::server::socket", Category::Connection),
    ("leveret::server::listener", Category::Connection),
    ("leveret::server::transport", Category::Connection),
    ("leveret::server::tls", Category::Connection),
    ("leveret::server::proxy", Category::Connection),
    ("leveret::server::store_link", Category::Store),
    ("leveret::broker::", Category::Queue),
    ("leveret::store", Category::Store),
    ("leveret", Category::Default),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_their_categories() {
        for (path, category) in [
            ("leveret::server::event_loop", Category::Default),
            ("leveret::server::socket", Category::Connection),
            ("leveret::protocol::amqp::handshake", Category::Connection),
            ("leveret::protocol::amqp::channel", Category::Channel),
            ("leveret::broker::queue::arguments", Category::Queue),
            ("leveret::store::log", Category::Store),
            ("leveret", Category::Default),
            ("mio::poll", Category::Default),
        ] {
            assert_eq!(Category::of_module(path), category, "{path}");
        }
        for (index, category) in Category::ALL.into_iter().enumerate() {
            assert_eq!(category as usize, index);
        }
    }

    #[test]
    fn the_narrower_level_decides() {
        use LevelFilter::{Debug, Error, Info, Warn};
        let mut log = Log::default();
        assert_eq!(log.level(Category::Queue, None), Info);
        assert_eq!(log.level(Category::Queue, Some(Debug)), Debug);
        log.levels[Category::Default as usize] = Some(Warn);
        assert_eq!(log.level(Category::Queue, None), Warn);
        assert_eq!(log.level(Category::Queue, Some(Debug)), Warn);
        log.levels[Category::Queue as usize] = Some(Debug);
        assert_eq!(log.level(Category::Queue, None), Debug);
        assert_eq!(log.level(Category::Queue, Some(Error)), Error);
        assert_eq!(log.level(Category::Store, None), Warn);
    }

    #[test]
    fn tls_is_served_as_soon_as_there_is_a_certificate() {
        let mut tls = Tls::default();
        assert!(tls.addresses().is_empty());
        tls.options.certificate_file = Some("c".into());
        assert!(tls.addresses().is_empty());
        tls.options.key_file = Some("k".into());
        assert_eq!(tls.addresses(), ["5671"]);
        tls.bind = vec!["127.0.0.1".to_owned()];
        assert_eq!(tls.addresses(), ["127.0.0.1"]);
        tls.listen = false;
        assert!(tls.addresses().is_empty());
    }

    #[test]
    fn watermarks_are_bytes_in_the_end() {
        assert_eq!(Watermark::Absolute(7).bytes(1000), 7);
        assert_eq!(Watermark::Relative(0.4).bytes(1000), 400);
        assert_eq!(Watermark::Relative(2.0).bytes(u64::MAX), u64::MAX);
    }
}
