//! `/leveret/log` and `/leveret/events`: what goes on, for whoever may look at everything.
//!
//! Events come as server-sent events (HTML Living Standard §9.2), so a page gets them as well as
//! `curl -N`. Nobody is waited for: who reads too slowly is told with a comment how many were left out, and
//! who does not read at all is cut off by whoever serves the socket.

use std::sync::Arc;

use crossbeam_channel::{Receiver, TryRecvError};
use serde_json::{Value, json};

use crate::broker::Event;
use crate::log_tap::{LogLine, LogTap, Subscription};
use crate::management::call::{Call, Right};
use crate::management::http::{Body, Method, Response, Stream};
use crate::management::terms::json_of_table;
use crate::management::time::rfc3339;
use crate::management::{Answer, Refusal};
use crate::protocol::events::HeardEvent;

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    let answer = match path {
        ["leveret", "events"] => events,
        ["leveret", "log"] => log,
        _ => return None,
    };
    let may = call
        .require(Right::Monitoring)
        .and_then(|()| call.only_get());
    Some(may.and_then(|()| answer(call)))
}

/// The last lines, as they were written: `?lines=`.
fn log(call: &Call<'_>) -> Answer {
    let wanted = call.request.parameter("lines").map(str::parse::<usize>);
    let wanted = wanted.transpose();
    let wanted = wanted.map_err(|_| Refusal::bad("lines: not a number"))?;
    let lines = tap(call)?.recent();
    let skipped = lines.len().saturating_sub(wanted.unwrap_or(usize::MAX));
    let lines = lines[skipped..].iter();
    let text: String = lines.map(|line| format!("{}\n", line.text)).collect();
    Ok(Response::text(200, &text))
}

fn tap<'a>(call: &Call<'a>) -> Result<&'a LogTap, Refusal> {
    let tap = call.management.facts.log.as_ref();
    tap.ok_or(Refusal::NotImplemented(
        "this broker runs inside another program, which has the log",
    ))
}

/// All that is told from now on: `?kinds=log,event`, or both.
fn events(call: &Call<'_>) -> Answer {
    let kinds = Kinds::wanted(call)?;
    if call.request.method == Method::Head {
        return Ok(Response::new(200, EVENT_STREAM, Vec::new()));
    }
    let place = Arc::clone(&call.management.streams);
    // One is the management's own.
    if Arc::strong_count(&place) - 1 > STREAMS_MAX {
        let reason = format!("there are {STREAMS_MAX} streams, which is as many as can be");
        return Err(Refusal::Unavailable(reason));
    }
    let log = kinds.log.then(|| tap(call)).transpose()?;
    let events = match kinds.events {
        true => Some(call.ask(|hub| hub.listen_to_events())?),
        false => None,
    };
    let stream = EventStream {
        log: log.map(|tap| tap.subscribe(None).1),
        log_lost: 0,
        events,
        heartbeat_ms: 0,
        _place: place,
    };
    let response = Response {
        status: 200,
        headers: Vec::new(),
        content_type: EVENT_STREAM,
        body: Body::Stream(Box::new(stream)),
    };
    // Neither may keep it for later: caches, or proxies that collect answers (nginx).
    let response = response.with("cache-control", "no-store");
    Ok(response.with("x-accel-buffering", "no"))
}

/// What a stream is about.
struct Kinds {
    log: bool,
    events: bool,
}

impl Kinds {
    fn wanted(call: &Call<'_>) -> Result<Kinds, Refusal> {
        let request = call.request;
        let kinds = request.parameter("kinds").or(request.parameter("kind"));
        let Some(kinds) = kinds else {
            return Ok(Kinds {
                log: call.management.facts.log.is_some(),
                events: true,
            });
        };
        let (mut log, mut events) = (false, false);
        for kind in kinds.split(',') {
            match kind {
                "log" => log = true,
                "event" => events = true,
                _ => return Err(Refusal::bad("kinds: there are log and event")),
            }
        }
        Ok(Kinds { log, events })
    }
}

/// One who listens.
struct EventStream {
    log: Option<Subscription>,
    /// What the subscription had lost when it was last looked at.
    log_lost: u64,
    events: Option<Receiver<HeardEvent>>,
    /// When the next heartbeat is due.
    heartbeat_ms: u64,
    /// Counts it among the streams.
    _place: Arc<()>,
}

impl Stream for EventStream {
    fn add_to(&mut self, out: &mut Vec<u8>, room: usize, now_ms: u64) -> bool {
        if now_ms >= self.heartbeat_ms {
            // The first tells that it has begun, the others keep what is in between from closing it.
            out.extend_from_slice(b": heartbeat\n\n");
            self.heartbeat_ms = now_ms + HEARTBEAT_MS;
        }
        self.add_log(out, room);
        self.add_events(out, room)
    }
}

impl EventStream {
    fn add_log(&mut self, out: &mut Vec<u8>, room: usize) {
        let Some(log) = &self.log else {
            return;
        };
        while out.len() < room
            && let Some(line) = log.next()
        {
            add(out, "log", &json_of_line(&line));
        }
        let lost = log.lost() - self.log_lost;
        self.log_lost += lost;
        add_lost(out, lost);
    }

    /// Returns false when the broker has stopped.
    fn add_events(&mut self, out: &mut Vec<u8>, room: usize) -> bool {
        let Some(events) = &self.events else {
            return true;
        };
        while out.len() < room {
            match events.try_recv() {
                Ok(heard) => {
                    add_lost(out, heard.lost_before);
                    add(out, "event", &json_of_event(&heard.event));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}

fn json_of_line(line: &LogLine) -> Value {
    json!({
        "time": line.time,
        "level": line.level_name(),
        "category": line.category.name(),
        "text": line.said,
    })
}

fn json_of_event(event: &Event) -> Value {
    json!({
        "name": event.name,
        "time": rfc3339(event.at_ms),
        "timestamp_in_ms": event.at_ms,
        "properties": json_of_table(event.properties.view()),
    })
}

/// JSON has no line ends, which would end the event.
fn add(out: &mut Vec<u8>, name: &str, data: &Value) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

fn add_lost(out: &mut Vec<u8>, count: u64) {
    if count > 0 {
        out.extend_from_slice(format!(": {count} were left out\n\n").as_bytes());
    }
}

const EVENT_STREAM: &str = "text/event-stream";
/// At a time, of all users.
const STREAMS_MAX: usize = 16;
const HEARTBEAT_MS: u64 = 15_000;

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, bounded};

    use super::*;
    use crate::config::Category;
    use crate::wire::amqp::field_table::TableBuilder;

    fn stream() -> (Sender<HeardEvent>, LogTap, EventStream) {
        let (sender, events) = bounded(100);
        let tap = LogTap::default();
        let stream = EventStream {
            log: Some(tap.subscribe(None).1),
            log_lost: 0,
            events: Some(events),
            heartbeat_ms: 0,
            _place: Arc::default(),
        };
        (sender, tap, stream)
    }

    fn heard(lost_before: u64) -> HeardEvent {
        let mut properties = TableBuilder::new();
        properties.put("name", "q");
        let event = Event {
            name: "queue.created",
            at_ms: 1_795_184_667_852,
            properties: properties.finish(),
        };
        HeardEvent {
            event: Arc::new(event),
            lost_before,
        }
    }

    fn told(stream: &mut EventStream, room: usize, now_ms: u64) -> String {
        let mut out = Vec::new();
        assert!(stream.add_to(&mut out, room, now_ms));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_heartbeat_comes_at_once_and_then_every_fifteen_seconds() {
        let (_sender, _tap, mut stream) = stream();
        let beats = [5, 10, 15_004, 15_005, 30_004, 30_005];
        let beats = beats.map(|now_ms| !told(&mut stream, 1000, now_ms).is_empty());
        assert_eq!(beats, [true, false, false, true, false, true]);
    }

    #[test]
    fn lines_and_events_are_told_with_what_was_left_out() {
        let (sender, tap, mut stream) = stream();
        told(&mut stream, 1000, 0);
        tap.add(LogLine {
            level: log::Level::Warn,
            category: Category::Connection,
            time: "2026-11-20T14:24:27.852Z".into(),
            said: "queue: what\\nhas happened".into(),
            text: String::new(),
        });
        sender.send(heard(7)).unwrap();
        assert_eq!(
            told(&mut stream, 1000, 0),
            "event: log\ndata: {\"category\":\"connection\",\"level\":\"warning\",\
             \"text\":\"queue: what\\\\nhas happened\",\"time\":\"2026-11-20T14:24:27.852Z\"}\n\n\
             : 7 were left out\n\n\
             event: event\ndata: {\"name\":\"queue.created\",\"properties\":{\"name\":\"q\"},\
             \"time\":\"2026-11-20T14:24:27.852Z\",\"timestamp_in_ms\":1795184667852}\n\n"
        );
    }

    #[test]
    fn no_more_is_told_than_there_is_room_for() {
        let (sender, _tap, mut stream) = stream();
        for _ in 0..10 {
            sender.send(heard(0)).unwrap();
        }
        told(&mut stream, 1, 0);
        let first = told(&mut stream, 200, 0);
        assert_eq!(first.matches("data:").count(), 2, "{first}");
        assert_eq!(told(&mut stream, 9000, 0).matches("data:").count(), 8);
        drop(sender);
        assert!(!stream.add_to(&mut Vec::new(), 9000, 0));
    }
}
