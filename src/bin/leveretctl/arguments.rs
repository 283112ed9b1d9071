//! The command line, read as rabbitmqctl reads it: options before, between and after the arguments,
//! `--option=value` and `--option value`, letters in one (`-qs`), `--` ends them, and what looks like a
//! negative number is an argument.

use crate::commands::Command;

/// An option that some command has.
struct Known {
    name: &'static str,
    letter: Option<char>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Text,
    Integer,
}

/// What was said, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The command and its arguments.
    pub words: Vec<String>,
    options: Vec<(&'static str, String)>,
    /// Options that are not known, or not as they should be, each with what follows it.
    pub invalid: Vec<(String, String)>,
    /// All that was given, for errors; arguments with their place among the words.
    given: Vec<(String, Option<usize>)>,
}

impl Arguments {
    /// Reads what comes after the program's name. Mistakes are [kept](Arguments::invalid), since what
    /// to say about them depends on the command.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Arguments {
        let mut parsed = Arguments::default();
        let mut rest = arguments.into_iter().peekable();
        while let Some(word) = rest.next() {
            if word == "--" {
                rest.by_ref().for_each(|word| parsed.take_word(word));
                break;
            }
            if !is_option(&word) {
                parsed.take_word(word);
                continue;
            }
            parsed.given.push((word.clone(), None));
            let mut value = || rest.next_if(|next| !is_option(next));
            match word.strip_prefix("--") {
                Some(long) => parsed.take_long(long, &mut value),
                None => parsed.take_letters(&word[1..], &mut value),
            }
        }
        parsed
    }

    /// The command line for errors, without passwords: neither that of the option nor the words from
    /// this one on.
    pub fn shown(&self, secret_from: usize) -> String {
        let shown = self.given.iter().map(|(word, place)| match place {
            Some(place) if *place >= secret_from => "***",
            _ => word.as_str(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// The name of the command, if one was given.
    pub fn command(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    pub fn has(&self, flag: &str) -> bool {
        self.text(flag).is_some_and(|value| value != NEGATED)
    }

    /// Whether the flag was given as `--no-...`.
    pub fn is_negated(&self, flag: &str) -> bool {
        self.text(flag) == Some(NEGATED)
    }

    /// The last value that was given.
    pub fn text(&self, option: &str) -> Option<&str> {
        let mut given = self.options.iter().rev();
        given
            .find(|(name, _)| *name == option)
            .map(|(_, value)| value.as_str())
    }

    /// As if it had been given last.
    pub fn set(&mut self, option: &'static str, value: &str) {
        self.options.push((option, value.to_owned()));
    }

    pub fn integer(&self, option: &str) -> Option<i64> {
        self.text(option)?.parse().ok()
    }

    /// Who to log in as, by either spelling. RabbitMQ's `list_user_limits --user` means another one.
    pub fn login(&self) -> Option<&str> {
        let user = || match self.command() {
            Some("list_user_limits") => None,
            _ => self.text("user"),
        };
        self.text("username").or_else(user)
    }

    pub fn port(&self) -> Option<u16> {
        self.integer("port")?.try_into().ok()
    }

    /// Moves options that this command does not have to the invalid ones.
    pub fn keep_options_of(&mut self, command: &Command) {
        let (kept, strange): (Vec<_>, Vec<_>) = std::mem::take(&mut self.options)
            .into_iter()
            .partition(|(name, _)| GENERAL.contains(name) || command.options.contains(name));
        self.options = kept;
        for (name, value) in strange {
            let value = if value == SET { String::new() } else { value };
            self.invalid.push((format!("--{name}"), value));
        }
    }

    fn take_word(&mut self, word: String) {
        self.given.push((word.clone(), Some(self.words.len())));
        self.words.push(word);
    }

    fn take_long(&mut self, word: &str, next: &mut impl FnMut() -> Option<String>) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if let Some(known) = KNOWN.iter().find(|known| known.name == name) {
            return self.take(known, format!("--{name}"), value, next);
        }
        let negated = name.strip_prefix("no-");
        let flag = negated.and_then(|name| {
            let mut flags = KNOWN.iter().filter(|known| known.kind == Kind::Flag);
            flags.find(|known| known.name == name)
        });
        match (flag, value) {
            (Some(flag), None) => self.options.push((flag.name, NEGATED.to_owned())),
            (_, value) => self
                .invalid
                .push((format!("--{name}"), value.unwrap_or_default())),
        }
    }

    fn take_letters(&mut self, letters: &str, next: &mut impl FnMut() -> Option<String>) {
        let known = |letter: char| KNOWN.iter().find(|known| known.letter == Some(letter));
        let single = letters.chars().count() == 1;
        for letter in letters.chars() {
            let text = format!("-{letter}");
            match known(letter) {
                Some(known) if single => self.take(known, text, None, next),
                Some(known) if known.kind == Kind::Flag => {
                    self.options.push((known.name, SET.to_owned()));
                }
                _ => self.invalid.push((text, String::new())),
            }
        }
    }

    /// Puts the value of an option into what errors repeat, unless it is in there already.
    fn show(&mut self, known: &Known, spelt: &str, value: &str) {
        let is_secret = known.name == "password";
        match self.given.last_mut() {
            Some((last, None)) if last.contains('=') => {
                if is_secret {
                    *last = format!("{spelt}=***");
                }
            }
            _ if known.kind == Kind::Flag => {}
            _ if is_secret => self.given.push(("***".to_owned(), None)),
            _ => self.given.push((value.to_owned(), None)),
        }
    }

    fn take(
        &mut self,
        known: &Known,
        spelt: String,
        value: Option<String>,
        next: &mut impl FnMut() -> Option<String>,
    ) {
        let value = match (known.kind, value) {
            (Kind::Flag, None) => Some(SET.to_owned()),
            (Kind::Flag, Some(value)) => match value.as_str() {
                "true" => Some(SET.to_owned()),
                "false" => Some(NEGATED.to_owned()),
                _ => return self.invalid.push((spelt, value)),
            },
            (_, Some(value)) => Some(value),
            (_, None) => next(),
        };
        match value {
            Some(value) if known.kind == Kind::Integer && value.parse::<i64>().is_err() => {
                self.show(known, &spelt, &value);
                self.invalid.push((spelt, value));
            }
            Some(value) => {
                self.show(known, &spelt, &value);
                self.options.push((known.name, value));
            }
            None => self.invalid.push((spelt, String::new())),
        }
    }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

const fn flag(name: &'static str, letter: Option<char>) -> Known {
    Known {
        name,
        letter,
        kind: Kind::Flag,
    }
}

const fn text(name: &'static str, letter: Option<char>) -> Known {
    Known {
        name,
        letter,
        kind: Kind::Text,
    }
}

const fn integer(name: &'static str, letter: Option<char>) -> Known {
    Known {
        name,
        letter,
        kind: Kind::Integer,
    }
}

/// How a flag that was given is kept, and one that was given as `--no-...`.
const SET: &str = "true";
const NEGATED: &str = "false";

/// Options of every command.
const GENERAL: &[&str] = &[
    "node",
    "longnames",
    "timeout",
    "quiet",
    "silent",
    "vhost",
    "formatter",
    "printer",
    "table-headers",
    "help",
    "version",
    "erlang-cookie",
    "dry-run",
    "data-dir",
    "socket",
    "host",
    "port",
    "user",
    "username",
    "password",
    "password-file",
    "tls",
    "ca",
    "cert",
    "key",
];

const KNOWN: &[Known] = &[
    text("node", Some('n')),
    flag("longnames", Some('l')),
    integer("timeout", Some('t')),
    flag("quiet", Some('q')),
    flag("silent", Some('s')),
    text("vhost", Some('p')),
    text("formatter", None),
    text("printer", None),
    flag("table-headers", None),
    flag("help", Some('?')),
    flag("version", None),
    text("erlang-cookie", None),
    flag("dry-run", None),
    text("data-dir", None),
    text("socket", None),
    text("host", None),
    integer("port", None),
    text("user", None),
    text("username", None),
    text("password", None),
    text("password-file", None),
    flag("tls", None),
    text("ca", None),
    text("cert", None),
    text("key", None),
    // Of some commands.
    flag("all", None),
    text("apply-to", None),
    text("category", None),
    text("cipher", None),
    text("default-queue-type", None),
    text("description", None),
    integer("duration", Some('d')),
    flag("enabled", Some('E')),
    text("exchange", None),
    flag("force", None),
    text("format", None),
    flag("global", None),
    text("hash", None),
    flag("idempotent", None),
    flag("if-empty", Some('e')),
    flag("if-unused", Some('u')),
    flag("implicitly-enabled", None),
    integer("iterations", None),
    integer("limit", None),
    flag("local", None),
    flag("minimal", Some('m')),
    integer("number", Some('N')),
    flag("offline", None),
    flag("online", None),
    text("pattern", None),
    integer("per-connection-delay", None),
    integer("pid", Some('P')),
    flag("pre-hashed-password", None),
    integer("priority", None),
    integer("rate", None),
    text("routing-key", None),
    text("search", None),
    flag("skip-if-unchanged", None),
    text("tags", None),
    text("unit", None),
    flag("verbose", Some('v')),
    flag("wait", None),
    integer("within", None),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_stand_anywhere() {
        let parsed = parse("-p ctl list_queues --timeout=5 name -qs --formatter json messages");
        assert_eq!(parsed.words, ["list_queues", "name", "messages"]);
        assert_eq!(parsed.text("vhost"), Some("ctl"));
        assert_eq!(parsed.integer("timeout"), Some(5));
        assert!(parsed.has("quiet") && parsed.has("silent"));
        assert_eq!(parsed.text("formatter"), Some("json"));
        assert!(parsed.invalid.is_empty());
    }

    #[test]
    fn numbers_dashes_and_what_follows_two_dashes_are_arguments() {
        let parsed = parse("a -0.4 - -- -x --y");
        assert_eq!(parsed.words, ["a", "-0.4", "-", "-x", "--y"]);
        assert!(parsed.invalid.is_empty());
    }

    #[test]
    fn flags_are_negated() {
        let parsed = parse("list_users --no-table-headers");
        assert!(parsed.is_negated("table-headers") && !parsed.has("table-headers"));
        assert!(!parse("list_users").is_negated("table-headers"));
    }

    #[test]
    fn mistakes_are_kept() {
        for (line, invalid) in [
            ("x --bogus", vec![("--bogus", "")]),
            ("x --bogus=1", vec![("--bogus", "1")]),
            ("x -t y", vec![("-t", "y")]),
            ("x -p", vec![("-p", "")]),
            ("x -p -q", vec![("-p", "")]),
            ("x -pctl", vec![("-p", ""), ("-c", ""), ("-t", "")]),
            ("x --quiet=maybe", vec![("--quiet", "maybe")]),
        ] {
            let found = parse(line).invalid;
            let found: Vec<_> = found
                .iter()
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .collect();
            assert_eq!(found, invalid, "{line}");
        }
    }

    #[test]
    fn errors_repeat_the_command_line_without_passwords() {
        let parsed = parse("-p v --password x --quiet add_user u y --password=z -t q --no --a=b");
        let shown = "-p v --password *** --quiet add_user u *** --password=*** -t q --no --a=b";
        assert_eq!(parsed.shown(2), shown);
    }

    #[test]
    fn credentials_have_two_spellings() {
        assert_eq!(parse("x --user u").login(), Some("u"));
        assert_eq!(parse("x --username=u").login(), Some("u"));
        let limits = parse("list_user_limits --user u");
        assert_eq!((limits.login(), limits.text("user")), (None, Some("u")));
    }
}
