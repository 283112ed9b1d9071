//! One record as one line, for people or for programs. Names that peers chose may hold line ends and
//! worse, and must not be able to pass for lines of the log.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use leveret::config::{Category, Format};
use log::{Level, Record};

/// The line, with its end.
pub(super) fn format(record: &Record<'_>, format: Format) -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = Time(since_1970.map_or(0, |since| since.as_millis() as u64));
    let mut line = String::with_capacity(160);
    // Writing to a string fails only if an argument's Display does, and what is there is kept then.
    let _ = match format {
        Format::Text => write_text(&mut line, time, record),
        Format::Json => write_json(&mut line, time, record),
    };
    line.push('\n');
    line
}

fn write_text(line: &mut String, time: Time, record: &Record<'_>) -> fmt::Result {
    write!(line, "{time} {:5} {}: ", record.level(), module(record))?;
    write!(
        Escaping {
            line,
            escape: escape_text
        },
        "{}",
        record.args()
    )
}

fn write_json(line: &mut String, time: Time, record: &Record<'_>) -> fmt::Result {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let domain = Category::of_module(record.target()).name();
    let module = module(record);
    write!(
        line,
        r#"{{"time":"{time}","level":"{level}","domain":"{domain}","module":"{module}","msg":""#
    )?;
    write!(
        Escaping {
            line,
            escape: escape_json
        },
        "{}",
        record.args()
    )?;
    line.write_str("\"}")
}

/// The last part of the module's path.
fn module<'a>(record: &'a Record<'_>) -> &'a str {
    record.target().rsplit("::").next().unwrap_or_default()
}

/// Writes what is formatted, with the characters escaped for which `escape` writes something.
struct Escaping<'a> {
    line: &'a mut String,
    escape: fn(&mut String, char) -> bool,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if !(self.escape)(self.line, character) {
                self.line.push(character);
            }
        }
        Ok(())
    }
}

fn escape_text(line: &mut String, character: char) -> bool {
    if character.is_control() {
        line.extend(character.escape_default());
    }
    character.is_control()
}

fn escape_json(line: &mut String, character: char) -> bool {
    match character {
        '"' => line.push_str("\\\""),
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        // The other controls are below 0x10000, so that one escape does.
        _ if character.is_control() => {
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        }
        _ => return false,
    }
    true
}

/// Milliseconds since 1970, shown as `2026-01-31T23:59:59.999Z`.
#[derive(Clone, Copy)]
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// Year, month and day of so many days after 1 January 1970. Counts from 1 March of the year 0, so that
/// the day that some years have is their last, in eras of 400 years, which are all alike.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March, 153 days in five of them.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: &str, text: &str, wanted: Format) -> String {
        let record = Record::builder();
        let mut record = record;
        format(
            &record
                .target(target)
                .level(Level::Warn)
                .args(format_args!("{text}"))
                .build(),
            wanted,
        )
    }

    #[test]
    fn times_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Time(ms).to_string(), text);
        }
    }

    #[test]
    fn text_stays_in_its_line() {
        let line = line("leveret::server::socket", "a\nb\x1b[2J \"c\"", Format::Text);
        let (_, rest) = line.split_at("1970-01-01T00:00:00.000Z".len());
        assert_eq!(rest, " WARN  socket: a\\nb\\u{1b}[2J \"c\"\n");
    }

    #[test]
    fn json_is_json() {
        let text = "a\n\u{7f}\u{85}\x01\t\"b\" \\ é";
        let line = line("leveret::server::socket", text, Format::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["msg"], text);
        assert_eq!(json["level"], "warning");
        assert_eq!(json["domain"], "connection");
    }
}
