//! What the broker said: its bytes as methods with their content.

use std::fmt::Write;

use leveret::wire::amqp::frame::{self, ContentHeader, Frame};
use leveret::wire::amqp::{METHODS, Method, Table};
use leveret::wire::reader::Reader;

use crate::Check;

/// One method, with its content if it has one, or a heartbeat.
pub struct Event {
    pub channel: u16,
    /// Of the method frame; empty for a heartbeat.
    pub payload: Vec<u8>,
    pub content: Option<Content>,
    /// Bytes that waited in the outbox before it.
    pub waiting: usize,
    /// Bytes on the wire.
    pub size: usize,
}

pub struct Content {
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Event {
    /// `None` for a heartbeat.
    pub fn method(&self) -> Option<Method<'_>> {
        (!self.payload.is_empty())
            .then(|| Method::decode(&self.payload).expect("decoded before it became an event"))
    }

    pub fn describe(&self) -> String {
        let mut text = format!("{:>2} {}", self.channel, describe(&self.payload));
        if let Some(content) = &self.content {
            let _ = write!(
                text,
                " {}",
                describe_content(&content.properties, &content.body)
            );
        }
        text
    }
}

/// Takes apart what one call of the broker wrote. It writes whole methods with whole contents, in
/// frames no larger than the peer wants them.
pub fn decode(mut bytes: &[u8], frame_max: usize, mut waiting: usize) -> Check<Vec<Event>> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let before = bytes.len();
        let first = take_frame(&mut bytes, frame_max)?;
        let mut event = Event {
            channel: first.channel,
            payload: first.payload.to_vec(),
            content: None,
            waiting,
            size: 0,
        };
        if first.kind == frame::METHOD {
            let method = Method::decode(first.payload).map_err(|error| error.to_string())?;
            if method.has_content() {
                event.content = Some(take_content(&mut bytes, first.channel, frame_max)?);
            }
        } else if first.kind != frame::HEARTBEAT || !first.payload.is_empty() {
            return Err(format!(
                "a frame of type {} where a method should be",
                first.kind
            ));
        }
        event.size = before - bytes.len();
        waiting += event.size;
        events.push(event);
    }
    Ok(events)
}

fn take_frame<'a>(bytes: &mut &'a [u8], frame_max: usize) -> Check<Frame<'a>> {
    match Frame::decode(bytes, 0) {
        Ok(Some((_, used))) if used > frame_max => {
            Err(format!("a frame of {used} bytes, more than {frame_max}"))
        }
        Ok(Some((frame, used))) => {
            *bytes = &bytes[used..];
            Ok(frame)
        }
        Ok(None) => Err("a frame was written in part".to_owned()),
        Err(error) => Err(format!("the broker wrote no frame: {error}")),
    }
}

fn take_content(bytes: &mut &[u8], channel: u16, frame_max: usize) -> Check<Content> {
    let frame = take_frame(bytes, frame_max)?;
    if (frame.kind, frame.channel) != (frame::HEADER, channel) {
        return Err("no content header behind its method".to_owned());
    }
    let header = ContentHeader::decode(frame.payload).map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    while (body.len() as u64) < header.body_size {
        let frame = take_frame(bytes, frame_max)?;
        if (frame.kind, frame.channel) != (frame::BODY, channel) {
            return Err("a body with something else in it".to_owned());
        }
        body.extend_from_slice(frame.payload);
    }
    if body.len() as u64 != header.body_size {
        return Err("a body longer than announced".to_owned());
    }
    Ok(Content {
        properties: header.properties.to_vec(),
        body,
    })
}

/// A method's name and arguments, for people.
pub fn describe(payload: &[u8]) -> String {
    if payload.is_empty() {
        return "heartbeat".to_owned();
    }
    let mut reader = Reader::new(payload);
    let ids = reader
        .short()
        .and_then(|class| Ok((class, reader.short()?)));
    let Some(info) = METHODS
        .iter()
        .find(|info| ids == Ok((info.class_id, info.method_id)))
    else {
        return format!("unknown method {ids:?}");
    };
    let mut text = format!("{}.{}", info.class, info.method);
    for field in info.fields {
        let value = match field.domain {
            "bit" => reader
                .bit()
                .map(|bit| if bit { "yes" } else { "" }.to_owned()),
            "octet" => reader.octet().map(|value| value.to_string()),
            "short" => reader.short().map(|value| value.to_string()),
            "long" => reader.long().map(|value| value.to_string()),
            "longlong" => reader.longlong().map(|value| value.to_string()),
            "shortstr" => reader.short_string().map(quoted),
            "longstr" => reader.long_string().map(quoted),
            _ => reader.table().map(describe_table),
        };
        let value = value.unwrap_or_else(|error| error.to_string());
        let shown = !value.is_empty() && value != "0" && field.name != "ticket";
        if shown && field.domain == "bit" {
            let _ = write!(text, " {}", field.name);
        } else if shown {
            let _ = write!(text, " {}={value}", field.name);
        }
    }
    text
}

/// Size, number and properties of a content.
pub fn describe_content(properties: &[u8], body: &[u8]) -> String {
    let number = crate::message::number(properties, body);
    let number = number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let properties = &properties[..properties.len().min(80)];
    format!(
        "message {number} ({} bytes) {}",
        body.len(),
        properties.escape_ascii()
    )
}

fn quoted(text: &[u8]) -> String {
    format!("'{}'", text.escape_ascii())
}

fn describe_table(table: Table<'_>) -> String {
    if table.is_empty() {
        return String::new();
    }
    format!("{table:?}")
}
