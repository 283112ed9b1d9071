//! What a key is. Each is defined in one row of the [`table`](super::table) and nowhere else; reading
//! files, showing the configuration, reloading it and the sample file all go by it.

use super::Config;
use super::table::{ALIASES, KEYS};

/// When a changed value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// After a reload; for connections, for new ones.
    Reload,
    /// After a restart.
    Restart,
}

/// A value that two configurations do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: &'static str,
    /// As a file has it, several with commas between them; empty if there is none.
    pub from: String,
    pub to: String,
    pub effect: Effect,
}

/// A row.
pub(super) struct Key {
    /// As in a file. One that ends with `$` is a family: any name may follow in its place.
    pub name: &'static str,
    /// For the sample file.
    pub doc: &'static str,
    pub effect: Effect,
    /// Whether values must not be shown.
    pub secret: bool,
    /// What a value has to be.
    pub wants: fn() -> String,
    /// Empties a family before its members are set.
    pub clear: fn(&mut Config),
    /// Takes a value, for the member of that name if it is a family; `false` if it cannot be.
    pub set: fn(&mut Config, &str, &str) -> bool,
    /// Values with the names of their members.
    pub show: fn(&Config) -> Vec<(String, String)>,
    /// Makes the first like the second.
    pub copy: fn(&mut Config, &Config),
}

impl Key {
    /// Of a member.
    pub fn full_name(&self, member: &str) -> String {
        match self.name.strip_suffix('$') {
            Some(prefix) => format!("{prefix}{}", member.replace('.', "\\.")),
            None => self.name.to_owned(),
        }
    }

    /// As it may be shown.
    pub fn censored(&self, value: String) -> String {
        if self.secret {
            SECRET.to_owned()
        } else {
            value
        }
    }

    fn show_all(&self, config: &Config) -> String {
        let values = (self.show)(config);
        let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        values.join(", ")
    }
}

/// The row for a key, and the name of the member if it is of a family.
pub(super) fn find(key: &str) -> Option<(usize, &str)> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == key);
    let key = alias.map_or(key, |(_, name)| name);
    KEYS.iter().enumerate().find_map(|(index, row)| {
        let member = match row.name.strip_suffix('$') {
            Some(prefix) => key.strip_prefix(prefix).filter(|member| !member.is_empty()),
            None => (key == row.name).then_some(""),
        };
        Some((index, member?))
    })
}

impl Config {
    /// What is different in `wanted`, in the order of the table.
    pub fn changes(&self, wanted: &Config) -> Vec<Change> {
        let changed = KEYS
            .iter()
            .filter(|key| (key.show)(self) != (key.show)(wanted));
        changed
            .map(|key| Change {
                key: key.name,
                from: key.censored(key.show_all(self)),
                to: key.censored(key.show_all(wanted)),
                effect: key.effect,
            })
            .collect()
    }

    /// Takes over what may change while the broker runs; the rest stays.
    pub fn reload(&mut self, wanted: &Config) {
        for key in KEYS.iter().filter(|key| key.effect == Effect::Reload) {
            (key.copy)(self, wanted);
        }
    }
}

const SECRET: &str = "********";

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::syntax::{self, quoted};
    use super::*;

    /// What `scripts/leveret.conf` has to be: every key with its explanation and its default.
    fn sample() -> String {
        let config = Config {
            data_dir: Some("leveret-data".into()),
            ..Config::default()
        };
        let mut text = SAMPLE_HEAD.to_owned();
        for key in KEYS {
            text.push('\n');
            for line in key.doc.lines() {
                let _ = writeln!(text, "# {line}");
            }
            let mut shown = (key.show)(&config);
            if shown.is_empty() {
                shown.push(("1".to_owned(), format!("<{}>", (key.wants)())));
            }
            for (member, value) in shown {
                let _ = writeln!(text, "#{} = {}", key.full_name(&member), quoted(&value));
            }
        }
        text
    }

    #[test]
    fn the_sample_file_has_every_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/leveret.conf");
        if std::env::var_os("LEVERET_WRITE_SAMPLE").is_some() {
            std::fs::write(path, sample()).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text == sample(),
            "scripts/leveret.conf is not up to date; LEVERET_WRITE_SAMPLE=1 writes it"
        );
        assert_eq!(syntax::parse(&text), Ok(Vec::new()));
    }

    #[test]
    fn defaults_are_values_of_their_keys() {
        for key in KEYS {
            let mut config = Config::default();
            for (member, value) in (key.show)(&Config::default()) {
                assert!(
                    (key.set)(&mut config, &member, &value),
                    "{} = {value}",
                    key.name
                );
            }
            assert!(!(key.wants)().is_empty() && !key.doc.is_empty());
        }
    }

    #[test]
    fn every_name_finds_its_row() {
        for (index, key) in KEYS.iter().enumerate() {
            let name = key.full_name("x");
            let (row, member) = find(&name).unwrap();
            assert_eq!(
                (row, member.is_empty()),
                (index, !key.name.ends_with('$')),
                "{name}"
            );
        }
        for (alias, name) in ALIASES {
            assert_eq!(find(alias), find(name));
            assert!(find(name).is_some());
        }
        assert_eq!(find("listeners.tcp."), None);
    }

    const SAMPLE_HEAD: &str = "\
# leveret.conf: every key that leveret knows, with its default. The syntax and most names are those of
# rabbitmq.conf; names marked (leveret) are its own. `leveret --print-config` shows what is in effect.
# SIGHUP reads this file again: what can change while the broker runs does, and the log names the rest.
# Files of conf.d beside this one are read after it, in the order of their names.
";
}
