//! What goes on while one looks: the log and events, as they come.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::{Output, Shape, cell};
use crate::session::{Session, print};

/// The last lines of the log.
pub fn log_tail(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let lines = session.arguments.integer("number").unwrap_or(50).max(0);
    session.banner(&format!("Last {lines} log lines on node {node} ..."))?;
    let response = session.request("GET", &format!("/api/leveret/log?lines={lines}"), None)?;
    Ok(Output::Raw(response.accepted()?.body))
}

pub fn log_tail_stream(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let duration = duration(session);
    session.banner(&match duration {
        Some(duration) => format!(
            "Streaming logs from node {node} for {} seconds ...",
            duration.as_secs()
        ),
        None => format!("Streaming logs from node {node} ..."),
    })?;
    follow(session, "log", duration, log_line)
}

/// As RabbitMQ's log has it.
fn log_line(event: &str) -> String {
    let Ok(told) = serde_json::from_str::<Value>(event) else {
        return event.to_owned();
    };
    let [time, level, text] = ["time", "level", "text"].map(|key| cell(&told[key], Shape::Plain));
    format!("{time} [{level}] {text}")
}

/// One JSON document a line.
pub fn consume_event_stream(session: &mut Session) -> Result<Output, Failure> {
    let duration = duration(session);
    follow(session, "event", duration, flat_event)
}

/// An event in RabbitMQ's shape, without levels.
fn flat_event(event: &str) -> String {
    let Ok(mut told) = serde_json::from_str::<Value>(event) else {
        return event.to_owned();
    };
    let mut flat = match told["properties"].take() {
        Value::Object(properties) => properties,
        _ => Map::new(),
    };
    flat.insert("event".to_owned(), told["name"].take());
    flat.insert("timestamp_in_ms".to_owned(), told["timestamp_in_ms"].take());
    Value::Object(flat).to_string()
}

/// 0 and nothing mean without end.
fn duration(session: &Session) -> Option<Duration> {
    let seconds = session.arguments.integer("duration").unwrap_or(0);
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs)
}

fn follow(
    session: &mut Session,
    kind: &str,
    duration: Option<Duration>,
    show: impl Fn(&str) -> String,
) -> Result<Output, Failure> {
    let deadline = duration.map(|duration| Instant::now() + duration);
    let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let mut events = Events::default();
    let mut broken = None;
    let on_piece = |piece: io::Result<&[u8]>| {
        match piece {
            Ok(piece) => events.push(piece, |event| print(&format!("{}\n", show(event)))),
            Err(error) if is_pause(&error) => {}
            Err(error) => {
                broken = Some(error);
                return false;
            }
        }
        !is_over()
    };
    let path = format!("/api/leveret/events?kinds={kind}");
    session.stream(&path, LOOK_UP_INTERVAL, on_piece)?;
    match broken {
        Some(error) => Err(Failure::unavailable(format!("the stream broke: {error}"))),
        None => Ok(Output::Nothing),
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Server-sent events (HTML Living Standard §9.2), of which only the data counts.
#[derive(Default)]
struct Events {
    /// What is there of a line.
    partial: Vec<u8>,
}

impl Events {
    /// Calls for each `data:` line that is complete now.
    fn push(&mut self, piece: &[u8], mut on_event: impl FnMut(&str)) {
        self.partial.extend_from_slice(piece);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let rest = self.partial.split_off(end + 1);
            let line = std::mem::replace(&mut self.partial, rest);
            let line = String::from_utf8_lossy(&line);
            if let Some(data) = line.trim_end().strip_prefix("data:") {
                on_event(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        // An event of this size is none of ours.
        if self.partial.len() > LINE_BYTES_MAX {
            self.partial.clear();
        }
    }
}

/// How often to see whether the time is over.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(200);
const LINE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_have_a_time_and_a_level() {
        let line = log_line(r#"{"time":"2026-01-01T00:00:00Z","level":"info","text":"a\tb"}"#);
        assert_eq!(line, "2026-01-01T00:00:00Z [info] a\\tb");
        assert_eq!(log_line("not JSON"), "not JSON");
    }

    #[test]
    fn an_event_is_shown_in_rabbitmqs_shape() {
        let told = r#"{"name":"queue.deleted","properties":{"name":"q"},"timestamp_in_ms":7}"#;
        let shown: Value = serde_json::from_str(&flat_event(told)).unwrap();
        let expected =
            serde_json::json!({"event": "queue.deleted", "name": "q", "timestamp_in_ms": 7});
        assert_eq!(shown, expected);
    }

    #[test]
    fn events_come_in_any_pieces() {
        let text = b": hello\n\nevent: x\ndata: {\"a\":1}\n\ndata:{\"b\":2}\r\n\r\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                events.push(piece, |event| found.push(event.to_owned()));
            }
            assert_eq!(found, ["{\"a\":1}", "{\"b\":2}"]);
        }
    }
}
