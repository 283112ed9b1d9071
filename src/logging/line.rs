//! One record as one line, for people or for programs. Names that peers chose may hold line ends and
//! worse, and must not be able to pass for lines of the log.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use env_logger::fmt::Formatter;
use leveret::config::Category;
use log::{Level, Record};

/// For people.
pub(super) fn write_text(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = line.timestamp_millis();
    let (level, module) = (record.level(), module(record));
    let message = message(record, escape_text);
    writeln!(line, "{time} {level:5} {module}: {message}")
}

/// The same without time and level.
pub(super) fn said(record: &Record<'_>) -> String {
    format!("{}: {}", module(record), message(record, escape_text))
}

/// For programs: a JSON object.
pub(super) fn write_json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = line.timestamp_millis();
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let domain = Category::of_module(record.target()).name();
    let module = module(record);
    let message = message(record, escape_json);
    writeln!(
        line,
        r#"{{"time":"{time}","level":"{level}","domain":"{domain}","module":"{module}","msg":"{message}"}}"#
    )
}

/// The last part of the module's path.
fn module<'a>(record: &'a Record<'_>) -> &'a str {
    record.target().rsplit("::").next().unwrap_or_default()
}

/// What the record says, with the characters escaped for which `escape` writes something.
fn message(record: &Record<'_>, escape: fn(&mut String, char) -> bool) -> String {
    let mut text = String::with_capacity(120);
    // Fails only if an argument's Display does, and what is there is kept then.
    let _ = Escaping {
        text: &mut text,
        escape,
    }
    .write_fmt(*record.args());
    text
}

struct Escaping<'a> {
    text: &'a mut String,
    escape: fn(&mut String, char) -> bool,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if !(self.escape)(self.text, character) {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

fn escape_text(text: &mut String, character: char) -> bool {
    if character.is_control() {
        text.extend(character.escape_default());
    }
    character.is_control()
}

fn escape_json(text: &mut String, character: char) -> bool {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        // The other controls are below 0x10000, so that one escape does.
        _ if character.is_control() => {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use env_logger::{Builder, Target};
    use leveret::config::Format;
    use log::{LevelFilter, Log};

    use super::*;

    /// What is in the file after one record, without its line end.
    fn line(format: Format, message: fmt::Arguments<'_>) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let logger = Builder::new()
            .filter_level(LevelFilter::Warn)
            .format(super::super::format(format))
            .target(Target::Pipe(Box::new(file.reopen().unwrap())))
            .build();
        let mut record = Record::builder();
        record
            .target("leveret::server::socket")
            .level(Level::Warn)
            .args(message);
        logger.log(&record.build());
        let text = fs::read_to_string(file.path()).unwrap();
        text.strip_suffix('\n').unwrap().to_owned()
    }

    fn without_time(line: &str) -> &str {
        line.split_at("1970-01-01T00:00:00.000Z".len()).1
    }

    #[test]
    fn text_stays_in_its_line() {
        let line = line(Format::Text, format_args!("a\nb\x1b[2J \"c\""));
        assert_eq!(without_time(&line), " WARN  socket: a\\nb\\u{1b}[2J \"c\"");
    }

    #[test]
    fn json_is_json() {
        let text = "a\n\u{7f}\u{85}\x01\t\"b\" \\ é";
        let line = line(Format::Json, format_args!("{text}"));
        assert!(!line.contains(char::is_control));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["msg"], text);
        assert_eq!(json["level"], "warning");
        assert_eq!(json["domain"], "connection");
        assert_eq!(json["module"], "socket");
        assert_eq!(without_time(json["time"].as_str().unwrap()), "");
    }

    #[test]
    fn a_message_that_cannot_be_formatted_is_kept_as_far_as_it_goes() {
        struct Failing;
        impl fmt::Display for Failing {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        let line = line(Format::Text, format_args!("a {Failing} b"));
        assert_eq!(without_time(&line), " WARN  socket: a ");
    }
}
