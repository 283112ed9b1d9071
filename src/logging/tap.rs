//! The destination inside the program: lines go to the tap. They are formatted as the exchange wants
//! them, and carry before the text, from the formatter to the sink: their level and category as bytes, then the
//! time and what they say, with a tab behind each.

use std::io::{self, Write};

use env_logger::{Logger, Target};
use leveret::config::{self, Category};
use leveret::log_tap::{LogLine, LogTap};
use log::{Level, LevelFilter};

use super::line::said;
use super::{filtered, format};

/// Everything that goes to the console unless told otherwise, and what the exchange wants beyond.
pub(super) fn logger(log: &config::Log, tap: LogTap) -> Logger {
    let mut builder = filtered(|category| {
        let of_exchange = match log.exchange {
            true => log.level(category, log.exchange_level),
            false => LevelFilter::Off,
        };
        log.level(category, None).max(of_exchange)
    });
    let write = format(log.exchange_format);
    builder.format(move |line, record| {
        let category = Category::of_module(record.target());
        let time = line.timestamp_millis();
        line.write_all(&[record.level() as u8, category as u8])?;
        // It has no tabs: they are escaped.
        write!(line, "{time}\t{}\t", said(record))?;
        write(line, record)
    });
    builder.target(Target::Pipe(Box::new(Sink(tap)))).build()
}

/// Gets a whole line with each write.
struct Sink(LogTap);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let [level, category, text @ ..] = bytes
            && let Some(level) = Level::iter().find(|known| *known as u8 == *level)
            && let Some(&category) = Category::ALL.get(usize::from(*category))
        {
            let text = String::from_utf8_lossy(text);
            let (time, text) = text.split_once('\t').unwrap_or_default();
            let (said, text) = text.split_once('\t').unwrap_or_default();
            self.0.add(LogLine {
                level,
                category,
                time: time.into(),
                said: said.into(),
                text: text.trim_end_matches('\n').to_owned(),
            });
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use log::{Log, Record};

    use super::*;

    #[test]
    fn lines_arrive_whole_with_their_level_and_category() {
        let tap = LogTap::default();
        let mut config = config::Log::default();
        let quiet = logger(&config, tap.clone());
        config.exchange = true;
        config.exchange_level = Some(LevelFilter::Debug);
        let verbose = logger(&config, tap.clone());
        for (logger, text) in [(&quiet, "dropped"), (&verbose, "kept\nin one")] {
            logger.log(
                &Record::builder()
                    .level(Level::Debug)
                    .target("leveret::store::log")
                    .args(format_args!("{text}"))
                    .build(),
            );
        }
        let lines = tap.recent();
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].level, lines[0].category),
            (Level::Debug, Category::Store)
        );
        assert_eq!(&lines[0].text[..10], &lines[0].time[..10]);
        assert_eq!(&*lines[0].said, "log: kept\\nin one");
        assert!(
            lines[0].text.ends_with(" DEBUG log: kept\\nin one"),
            "{}",
            lines[0].text
        );
    }
}
