//! From settings of all sources to one [`Config`]: the command line over the environment, that over the
//! files, those over the defaults.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use log::Level;

use super::keys::{self, Key};
use super::syntax::quoted;
use super::table::KEYS;
use super::{Config, known};

/// A value for a key, as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub source: Source,
}

impl Setting {
    pub fn new(key: impl Into<String>, value: impl Into<String>, source: Source) -> Setting {
        Setting {
            key: key.into(),
            value: value.into(),
            source,
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The variable.
    Environment(&'static str),
    /// The option, as `--port`.
    CommandLine(&'static str),
}

impl Source {
    fn precedence(&self) -> u8 {
        match self {
            Source::File { .. } => 0,
            Source::Environment(_) => 1,
            Source::CommandLine(_) => 2,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment(variable) => f.write_str(variable),
            Source::CommandLine(option) => f.write_str(option),
        }
    }
}

/// Why a broker must not start. One line; secrets are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub source: Source,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}

/// For the log, once there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub level: Level,
    pub text: String,
}

/// One configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Effective {
    pub config: Config,
    /// What is odd about the settings.
    pub remarks: Vec<Remark>,
    /// What was set for each row of the table, as far as it counts.
    winners: Vec<Vec<Winner>>,
}

#[derive(Clone, Debug)]
struct Winner {
    member: String,
    value: String,
    source: Source,
}

impl Effective {
    /// Applies the settings to the defaults. Of two for one key the one of the better source counts,
    /// and of two from equal sources the later. The members of a family, as `listeners.tcp.*`, are
    /// taken from the best source that has any.
    ///
    /// # Errors
    /// All values that cannot be.
    pub fn resolve(defaults: Config, settings: Vec<Setting>) -> Result<Effective, Vec<Fault>> {
        let mut effective = Effective {
            config: defaults,
            remarks: Vec::new(),
            winners: vec![Vec::new(); KEYS.len()],
        };
        for setting in settings {
            match keys::find(&setting.key) {
                Some((row, member)) => {
                    let winner = Winner {
                        member: member.to_owned(),
                        value: setting.value,
                        source: setting.source,
                    };
                    effective.enter(row, winner);
                }
                None => effective.remark_unknown(&setting),
            }
        }
        effective.drop_outdone_nones();
        let mut faults = Vec::new();
        for (row, key) in KEYS.iter().enumerate() {
            effective.apply(row, key, &mut faults);
        }
        if faults.is_empty() {
            Ok(effective)
        } else {
            Err(faults)
        }
    }

    /// The configuration as a file that would bring it about, each value with where it came from.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (key, winners) in KEYS.iter().zip(&self.winners) {
            self.print_row(key, winners, &mut text);
        }
        text
    }

    fn enter(&mut self, row: usize, winner: Winner) {
        let winners = &mut self.winners[row];
        let precedence = winner.source.precedence();
        let best = winners.first().map(|before| before.source.precedence());
        if best.is_some_and(|best| best > precedence) {
            return;
        }
        if best.is_some_and(|best| best < precedence) {
            winners.clear();
        }
        winners.retain(|before| before.member != winner.member);
        winners.push(winner);
    }

    fn remark_unknown(&mut self, setting: &Setting) {
        let Setting { key, source, .. } = setting;
        self.remarks.push(match known::reason(key) {
            Some(reason) => Remark {
                level: match known::is_about_safety(key) {
                    true => Level::Warn,
                    false => Level::Info,
                },
                text: format!("{source}: {key} has no effect: {reason}"),
            },
            None => Remark {
                level: Level::Warn,
                text: format!("{source}: unknown key {key}, ignored"),
            },
        });
    }

    /// `listeners.tcp = none` says nothing against an address from a better source.
    fn drop_outdone_nones(&mut self) {
        for (row, key) in KEYS.iter().enumerate() {
            let Some(prefix) = key.name.strip_suffix(".$") else {
                continue;
            };
            let Some(none) = KEYS.iter().position(|key| key.name == prefix) else {
                continue;
            };
            let best = |row: usize| {
                let first = self.winners[row].first();
                first.map(|winner| winner.source.precedence())
            };
            if best(row) > best(none) {
                self.winners[none].clear();
            }
        }
    }

    fn apply(&mut self, row: usize, key: &Key, faults: &mut Vec<Fault>) {
        let winners = &self.winners[row];
        if winners.is_empty() {
            return;
        }
        (key.clear)(&mut self.config);
        for Winner {
            member,
            value,
            source,
        } in winners
        {
            let name = key.full_name(member);
            let mut fault = |text| {
                let source = source.clone();
                faults.push(Fault { source, text });
            };
            if !(key.set)(&mut self.config, member, value) {
                let value = key.censored(value.clone());
                let wants = (key.wants)();
                fault(format!("{name} = {value} cannot be, it wants {wants}"));
            }
        }
    }

    /// Writing to a string cannot fail.
    fn print_row(&self, key: &Key, winners: &[Winner], text: &mut String) {
        let shown = (key.show)(&self.config);
        if shown.is_empty() {
            return;
        }
        for line in key.doc.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let count = shown.len();
        for (index, (member, value)) in shown.into_iter().enumerate() {
            let value = quoted(&key.censored(value));
            // A family is shown in the order in which it was set. Only a set's members that are `false` are
            // left out of it, and these have names that mean something; those of a list may be any.
            let winner = match winners.len() == count {
                true => winners.get(index),
                false => winners.iter().find(|winner| winner.member == member),
            };
            let member = winner.map_or(member, |winner| winner.member.clone());
            let source = winner.map_or("default".to_owned(), |winner| winner.source.to_string());
            let line = format!("{} = {value}", key.full_name(&member));
            let _ = writeln!(text, "{line:<50} # {source}");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;
    use proptest::prelude::*;

    use super::super::keys::Effect;
    use super::super::syntax::{self, Content};
    use super::super::{Category, Mechanism, RevocationCheck, TlsVersion, Verify, Watermark};
    use super::*;
    use crate::wire::x509::NameKind;

    /// Found by fuzzing: a member was printed under the name of another, and lost when that was read.
    #[test]
    fn members_of_a_list_are_printed_under_their_names_whatever_these_are() {
        let text = "listeners.tcp.2 = 127.0.0.1:1\nlisteners.tcp.x = 127.0.0.1:2\n";
        let first = Effective::resolve(Config::default(), in_file(text)).unwrap();
        let again = Effective::resolve(Config::default(), in_file(&first.print())).unwrap();
        assert_eq!(again.config.bind, first.config.bind);
        assert_eq!(first.config.bind.len(), 2);
    }

    fn in_file(text: &str) -> Vec<Setting> {
        let lines = syntax::parse(text).unwrap().into_iter();
        lines
            .map(|line| match line.content {
                Content::Setting { key, value } => {
                    let path = "a.conf".into();
                    let line = line.number;
                    Setting::new(key, value, Source::File { path, line })
                }
                Content::Include(_) => panic!("no includes here"),
            })
            .collect()
    }

    fn read(text: &str) -> Effective {
        Effective::resolve(Config::default(), in_file(text)).unwrap()
    }

    fn faults(text: &str) -> Vec<String> {
        let faults = Effective::resolve(Config::default(), in_file(text)).unwrap_err();
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_file_of_rabbitmq_is_understood() {
        let effective = read(
            "listeners.tcp.1 = 127.0.0.1:5672\nlisteners.tcp.2 = ::1:5672\nheartbeat = 30\n\
             num_acceptors.tcp = 10\nmax_message_size = 134217728\nlog.console.level = debug\n\
             vm_memory_high_watermark.absolute = 512MiB\nlog.connection.level = warning\n\
             tcp_listen_options.backlog = 128\nchannel_max = 100\nlog.file = false\n",
        );
        let config = &effective.config;
        assert_eq!(config.bind, ["127.0.0.1:5672", "[::1]:5672"]);
        assert_eq!(config.limits.heartbeat_seconds, 30);
        assert_eq!(config.limits.message_size_max_bytes, 128 << 20);
        assert_eq!(config.watermarks.memory, Watermark::Absolute(512 << 20));
        assert_eq!(config.tcp.backlog, 128);
        let level = config.log.levels[Category::Connection as usize];
        assert_eq!(level, Some(LevelFilter::Warn));
        let remarks: Vec<_> = effective.remarks.iter().map(|r| r.text.as_str()).collect();
        assert_eq!(
            remarks,
            ["a.conf:4: num_acceptors.tcp has no effect: one thread serves all connections",]
        );
    }

    #[test]
    fn impossible_values_are_all_named_with_what_is_wanted() {
        assert_eq!(
            faults("heartbeat = soon\nframe_max = 100\ndefault_user = ''\nlisteners.ssl = 5671"),
            [
                "a.conf:4: listeners.ssl = 5671 cannot be, it wants none; addresses are \
                 listeners.ssl.1 and so on",
                "a.conf:3: default_user =  cannot be, it wants some text",
                "a.conf:1: heartbeat = soon cannot be, it wants a number from 0 to 65535",
                "a.conf:2: frame_max = 100 cannot be, it wants a number from 4096 to 134217728",
            ]
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let effective = read("default_pass = topsecret\n");
        assert_eq!(effective.config.access.default_password, "topsecret");
        let text = effective.print();
        assert!(text.contains("default_pass = ********"), "{text}");
        assert!(!text.contains("topsecret"));
        let changes = Config::default().changes(&effective.config);
        assert!(!format!("{changes:?}").contains("topsecret"));
    }

    #[test]
    fn the_better_source_counts_and_the_later_of_equals() {
        let mut settings = vec![
            Setting::new("heartbeat", "3", Source::CommandLine("--heartbeat")),
            Setting::new("heartbeat", "2", Source::Environment("HEARTBEAT")),
        ];
        settings.extend(in_file("heartbeat = 1\ncluster_name = a\ncluster_name = b"));
        let effective = Effective::resolve(Config::default(), settings).unwrap();
        assert_eq!(effective.config.limits.heartbeat_seconds, 3);
        assert_eq!(effective.config.server.cluster_name, "b");
    }

    #[test]
    fn what_is_outdone_may_be_impossible() {
        let mut settings = in_file("heartbeat = soon");
        settings.push(Setting::new(
            "heartbeat",
            "2",
            Source::Environment("HEARTBEAT"),
        ));
        let effective = Effective::resolve(Config::default(), settings).unwrap();
        assert_eq!(effective.config.limits.heartbeat_seconds, 2);
    }

    #[test]
    fn a_family_is_taken_from_one_kind_of_source() {
        let mut settings = in_file("listeners.tcp.a = 1\nlisteners.tcp.b = 2\nlisteners.tcp.a = 3");
        let effective = Effective::resolve(Config::default(), settings.clone()).unwrap();
        assert_eq!(effective.config.bind, ["2", "3"]);
        settings.push(Setting::new(
            "listeners.tcp.1",
            "4",
            Source::CommandLine("--bind"),
        ));
        let effective = Effective::resolve(Config::default(), settings).unwrap();
        assert_eq!(effective.config.bind, ["4"]);
    }

    #[test]
    fn nothing_to_listen_on_gives_way_to_the_command_line() {
        let mut settings = in_file("listeners.tcp = none");
        let effective = Effective::resolve(Config::default(), settings.clone()).unwrap();
        assert!(!effective.config.listen_plain);
        settings.push(Setting::new(
            "listeners.tcp.1",
            "4",
            Source::CommandLine("--bind"),
        ));
        let effective = Effective::resolve(Config::default(), settings).unwrap();
        assert!(effective.config.listen_plain);
    }

    #[test]
    fn tls_is_configured_as_in_rabbitmq() {
        let effective = read(
            "listeners.ssl.default = 5671\nssl_options.cacertfile = /ca.pem\n\
             ssl_options.certfile = /c.pem\nssl_options.keyfile = /k.pem\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
             ssl_options.versions.1 = tlsv1.3\nssl_options.depth = 2\n\
             auth_mechanisms.1 = EXTERNAL\nssl_cert_login_from = subject_alternative_name\n\
             ssl_cert_login_san_type = email\nssl_cert_login_san_index = 1\n\
             ssl_options.honor_cipher_order = true\nssl_options.crl_check = peer\n\
             ssl_options.crlfile = /crl.pem\nssl_options.sni.certfile.A.example = /a.pem\n\
             ssl_options.sni.keyfile.A.example = /a.key\n",
        );
        let Config { tls, access, .. } = &effective.config;
        assert_eq!(tls.addresses(), ["5671"]);
        assert_eq!(tls.options.verify, Verify::Peer);
        assert!(tls.options.fail_if_no_peer_certificate);
        assert_eq!(tls.options.versions, [TlsVersion::Tls13]);
        assert_eq!(tls.options.revocation_check, Some(RevocationCheck::Peer));
        assert_eq!(tls.options.revocation_file, Some("/crl.pem".into()));
        let files = [
            &tls.options.sni_certificate_files,
            &tls.options.sni_key_files,
        ];
        let files = files.map(|files| files["a.example"].display().to_string());
        assert_eq!(files, ["/a.pem", "/a.key"]);
        assert_eq!(tls.login_san_kind, NameKind::Email);
        assert_eq!(access.mechanisms(), [Mechanism::External]);
        // Who believes to be safer by it is told louder.
        let [remark] = &effective.remarks[..] else {
            panic!("{:?}", effective.remarks);
        };
        assert_eq!(remark.level, Level::Warn);
        assert_eq!(
            remark.text,
            "a.conf:13: ssl_options.honor_cipher_order has no effect: TLS follows its library in this"
        );
        assert_eq!(
            faults("auth_mechanisms.1 = FOO\nssl_options.versions.1 = tlsv1.1"),
            [
                "a.conf:2: ssl_options.versions.1 = tlsv1.1 cannot be, it wants tlsv1.2 or tlsv1.3",
                "a.conf:1: auth_mechanisms.1 = FOO cannot be, it wants PLAIN, AMQPLAIN or EXTERNAL",
            ]
        );
    }

    #[test]
    fn loopback_users_are_a_set() {
        assert_eq!(read("").config.access.loopback_users, ["guest"]);
        for none in ["loopback_users = none", "loopback_users.guest = false"] {
            let config = read(none).config;
            assert!(config.access.loopback_users.is_empty(), "{none}");
        }
        let config = read("loopback_users.alice = true").config;
        assert_eq!(config.access.loopback_users, ["alice"]);
        assert!(!faults("loopback_users = guest").is_empty());
    }

    #[test]
    fn the_relative_watermark_wins() {
        for text in [
            "disk_free_limit.relative = 1.5\ndisk_free_limit.absolute = 1GB",
            "disk_free_limit.absolute = 1GB\ndisk_free_limit.relative = 1.5",
        ] {
            assert_eq!(
                read(text).config.watermarks.disk_free,
                Watermark::Relative(1.5)
            );
        }
    }

    #[test]
    fn only_safe_values_are_reloaded() {
        let mut running = Config::default();
        let wanted = read("heartbeat = 5\ndata_dir = elsewhere\nlog.default.level = debug").config;
        let changes = running.changes(&wanted);
        let seen: Vec<_> = changes.iter().map(|c| (c.key, c.effect)).collect();
        assert_eq!(
            seen,
            [
                ("heartbeat", Effect::Reload),
                ("data_dir", Effect::Restart),
                ("log.default.level", Effect::Reload)
            ]
        );
        assert_eq!((&*changes[0].from, &*changes[0].to), ("60", "5"));
        running.reload(&wanted);
        assert_eq!(running.limits.heartbeat_seconds, 5);
        assert_eq!(running.data_dir, None);
    }

    /// Values that suit some key, and values that suit none.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,9}",
            "[0-9]{1,4}(k|MB|GiB)",
            Just("true".to_owned()),
            Just("none".to_owned()),
            Just("json".to_owned()),
            Just("debug".to_owned()),
            Just("verify_peer".to_owned()),
            Just("tlsv1.3".to_owned()),
            Just("127.0.0.1:5672".to_owned()),
            "[0-9]\\.[0-9]{1,2}",
            "[a-z/#' ]{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_brings_about_the_same(
            pairs in prop::collection::vec((0..KEYS.len(), "[a-z]{1,3}", value()), 0..12)
        ) {
            let file = |line| Source::File { path: "a".into(), line };
            // Keys that can be shown in full.
            let settings = pairs.into_iter().filter_map(|(row, member, value)| {
                let key = &KEYS[row];
                let fits = !key.secret && (key.set)(&mut Config::default(), &member, &value);
                fits.then(|| Setting::new(key.full_name(&member), value, file(row)))
            });
            let defaults = Config::default();
            let one = Effective::resolve(defaults, settings.collect()).unwrap();
            let printed: Vec<_> = in_file(&one.print())
                .into_iter()
                .filter(|setting| !KEYS[keys::find(&setting.key).unwrap().0].secret)
                .collect();
            let other = Effective::resolve(Config::default(), printed).unwrap();
            prop_assert_eq!(&one.config, &other.config);
            prop_assert!(one.config.changes(&other.config).is_empty());
        }

        #[test]
        fn no_setting_panics(key in "[a-z._$]{0,20}", row in 0..KEYS.len(), value in any::<String>()) {
            for key in [key, KEYS[row].full_name("x")] {
                let setting = Setting::new(key, value.clone(), Source::Environment("X"));
                let _ = Effective::resolve(Config::default(), vec![setting]);
            }
        }
    }
}
