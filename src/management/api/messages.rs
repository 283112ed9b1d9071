//! Publishing and getting messages by hand, as the user who asks.

use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::topology::{as_user, check_short, exchange_name};
use crate::broker::{Getting, Got, Published, Settlement};
use crate::management::call::Call;
use crate::management::http::Method;
use crate::management::input::Input;
use crate::management::refusal::json_response;
use crate::management::terms::{arguments_of, json_of_table};
use crate::management::{Answer, Refusal};
use crate::protocol::amqp::{Exception, Guest};
use crate::wire::amqp::{OwnedTable, Properties, ReplyCode};

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["exchanges", vhost, name, "publish"] => publish(call, vhost, name),
        ["queues", vhost, name, "get"] => get(call, vhost, name),
        _ => return None,
    })
}

/// A message that was got.
#[derive(Serialize)]
struct ShownMessage {
    payload_bytes: usize,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    message_count: usize,
    /// An empty list where there are none (RabbitMQ).
    properties: Value,
    payload: String,
    payload_encoding: &'static str,
}

/// What `POST /queues/:vhost/:queue/get` says.
#[derive(Clone, Debug)]
struct Wish {
    queue: String,
    count: usize,
    /// `None`: they are gone once they were got.
    settlement: Option<Settlement>,
    as_base64: bool,
    /// Bytes of each that are shown.
    truncate: usize,
}

/// What one errand got.
struct Gotten {
    messages: Vec<ShownMessage>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// As many as were asked for, or as the queue has.
    Reached,
    /// The errand would have become too long.
    Bounded,
    /// The next message must be read back first.
    Absent,
}

fn publish(call: &Call<'_>, vhost: &str, exchange: &str) -> Answer {
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    let input = Input::of(call)?;
    input.require(&["properties", "routing_key", "payload", "payload_encoding"])?;
    let routing_key = input.required_text("routing_key")?.to_owned();
    let exchange = exchange_name(exchange).to_owned();
    check_short(&routing_key)?;
    let body = body(&input)?;
    let properties = encoded_properties(&input.object("properties")?.into())?;
    let published = as_user(call, vhost, publish_refusal, move |guest| {
        let (exchange, key) = (exchange.as_bytes(), routing_key.as_bytes());
        guest.publish(exchange, key, &properties, body)
    })?;
    let routed = published != Published::Unroutable;
    Ok(json_response(200, &json!({"routed": routed})))
}

fn body(input: &Input) -> Result<Bytes, Refusal> {
    let payload = input.required_text("payload")?;
    match input.required_text("payload_encoding")? {
        "string" => Ok(Bytes::copy_from_slice(payload.as_bytes())),
        "base64" => BASE64
            .decode(payload)
            .map(Bytes::from)
            .map_err(|_| Refusal::said(json!(["not_base64", payload]))),
        other => Err(Refusal::said(json!(["unsupported_encoding", other]))),
    }
}

fn encoded_properties(input: &Input) -> Result<Vec<u8>, Refusal> {
    let text = |name: &str| {
        let text = input.text(name)?;
        text.map_or(Ok(()), check_short)?;
        Ok::<_, Refusal>(text.map(str::as_bytes))
    };
    let number = |name: &str| {
        let found = input.integer(name);
        let found = found.map_err(|_| Refusal::said(json!(["not_int", name])))?;
        let found = found.map(u64::try_from).transpose();
        found.map_err(|_| Refusal::said(json!(["not_int", name])))
    };
    let octet = |name: &str| {
        let found = number(name)?.map(u8::try_from).transpose();
        found.map_err(|_| Refusal::said(json!(["not_int", name])))
    };
    let headers: Option<OwnedTable> = match input.get("headers") {
        None => None,
        Some(_) => Some(arguments_of(&input.object("headers")?)?),
    };
    let properties = Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_ref().map(OwnedTable::view),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    Ok(block)
}

/// RabbitMQ passes on what the channel was closed with.
fn publish_refusal(exception: Exception) -> Refusal {
    match exception.code {
        ReplyCode::NotAllowed => Refusal::AccessRefused,
        ReplyCode::ResourceError => {
            Refusal::Unavailable(format!("publishers are blocked: {}", exception.text))
        }
        code => Refusal::bad(format!(
            "{} {} - {}",
            code.code(),
            code.name(),
            exception.text
        )),
    }
}

fn get_refusal(exception: Exception) -> Refusal {
    let text = format!("{} - {}", exception.code.name(), exception.text);
    match exception.code {
        ReplyCode::NotFound => Refusal::Missing(text),
        ReplyCode::AccessRefused | ReplyCode::NotAllowed => Refusal::NotAuthorized(text),
        _ => Refusal::bad(text),
    }
}

impl Wish {
    fn read(queue: &str, input: &Input) -> Result<Wish, Refusal> {
        // Before there were four ways, there were two.
        let requeue = input.flag("requeue")?;
        match requeue {
            Some(_) => input.require(&["count", "encoding"])?,
            None => input.require(&["count", "ackmode", "encoding"])?,
        }
        let settlement = match (input.text("ackmode")?, requeue) {
            (Some("ack_requeue_true"), _) | (None, Some(true)) => Some(Settlement::Returned),
            (Some("ack_requeue_false"), _) | (None, _) => None,
            (Some("reject_requeue_true"), _) => Some(Settlement::Failed),
            (Some("reject_requeue_false"), _) => Some(Settlement::Rejected),
            (Some(other), _) => return Err(Refusal::said(json!(["unknown_ackmode", other]))),
        };
        let as_base64 = match input.required_text("encoding")? {
            "auto" => false,
            "base64" => true,
            _ => {
                let reason = "Unsupported encoding. Please use auto or base64.";
                return Err(Refusal::bad(reason));
            }
        };
        let count = input.integer("count")?.unwrap_or_default();
        let truncate = input.integer("truncate")?;
        Ok(Wish {
            queue: queue.to_owned(),
            count: usize::try_from(count).unwrap_or(0),
            settlement,
            as_base64,
            truncate: truncate.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0)),
        })
    }

    /// Whether they stay in the queue: then one errand must get them all, or the next would get them
    /// again.
    fn is_peek(&self) -> bool {
        let back = [Settlement::Returned, Settlement::Failed];
        self.settlement.is_some_and(|how| back.contains(&how))
    }
}

/// RabbitMQ's own answer has no bound. Messages that stay in the queue are got by one errand, up to
/// [`ERRAND_MESSAGES_MAX`] and [`ERRAND_BYTES_MAX`]; others by as many as it takes, up to
/// [`ANSWER_BYTES_MAX`].
fn get(call: &Call<'_>, vhost: &str, queue: &str) -> Answer {
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    check_short(queue)?;
    let mut wish = Wish::read(queue, &Input::of(call)?)?;
    let mut messages: Vec<ShownMessage> = Vec::new();
    let mut bytes = 0;
    let mut pauses = 0;
    while wish.count > 0 && bytes < ANSWER_BYTES_MAX {
        let asked = wish.clone();
        let got = as_user(call, vhost, get_refusal, move |guest| {
            get_some(guest, &asked)
        })?;
        let is_partial = got.end == End::Absent && pauses < PAUSES_MAX;
        if is_partial && wish.is_peek() {
            pauses += 1;
            thread::sleep(PAUSE);
            continue;
        }
        let progress = got.messages.len();
        wish.count -= progress.min(wish.count);
        bytes += got.messages.iter().map(|m| m.payload.len()).sum::<usize>();
        messages.extend(got.messages);
        match got.end {
            End::Bounded if progress > 0 && !wish.is_peek() => {}
            End::Absent if is_partial => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            _ => break,
        }
    }
    Ok(json_response(200, &messages))
}

fn get_some(guest: &mut Guest<'_>, wish: &Wish) -> Result<Gotten, Exception> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut turns = 0;
    let end = loop {
        if messages.len() >= wish.count {
            break End::Reached;
        }
        turns += 1;
        if turns > ERRAND_MESSAGES_MAX || bytes >= ERRAND_BYTES_MAX {
            break End::Bounded;
        }
        let no_ack = wish.settlement.is_none();
        let getting = guest.get(wish.queue.as_bytes(), no_ack, |got| {
            bytes += got.message.body.len();
            messages.push(shown(&got, wish));
        })?;
        match getting {
            Getting::Got | Getting::Again => {}
            Getting::Empty => break End::Reached,
            Getting::Later => break End::Absent,
        }
    };
    if let Some(settlement) = wish.settlement
        && !messages.is_empty()
    {
        guest.settle_all(settlement)?;
    }
    Ok(Gotten { messages, end })
}

fn shown(got: &Got<'_>, wish: &Wish) -> ShownMessage {
    let body = got.message.body.as_slice();
    let payload = &body[..body.len().min(wish.truncate)];
    let (payload, payload_encoding) = encoded_payload(payload, wish.as_base64);
    ShownMessage {
        payload_bytes: body.len(),
        redelivered: got.redelivered,
        exchange: String::from_utf8_lossy(got.message.exchange).into_owned(),
        routing_key: String::from_utf8_lossy(got.message.routing_key).into_owned(),
        message_count: got.left,
        properties: shown_properties(got.message.properties),
        payload,
        payload_encoding,
    }
}

/// Text as it is, unless it is not wanted so; what is no text as base64.
pub(super) fn encoded_payload(payload: &[u8], as_base64: bool) -> (String, &'static str) {
    let text = std::str::from_utf8(payload).ok();
    match text.filter(|_| !as_base64) {
        Some(text) => (text.to_owned(), "string"),
        None => (BASE64.encode(payload), "base64"),
    }
}

/// An empty list where there are none (RabbitMQ).
pub(super) fn shown_properties(block: &[u8]) -> Value {
    let Ok(properties) = Properties::decode(block) else {
        return json!([]);
    };
    let mut shown = Map::new();
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            shown.insert(name.to_owned(), json!(String::from_utf8_lossy(text)));
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            shown.insert(name.to_owned(), json!(number));
        }
    }
    if let Some(headers) = properties.headers {
        shown.insert("headers".to_owned(), json_of_table(headers));
    }
    match shown.is_empty() {
        true => json!([]),
        false => Value::Object(shown),
    }
}

/// Of one errand: a fraction of a millisecond.
const ERRAND_MESSAGES_MAX: usize = 500;
/// Of bodies, and one message more.
const ERRAND_BYTES_MAX: usize = 1 << 20;
/// Of one answer, and one errand more.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long messages are waited for that have to be read back.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSES_MAX: usize = 1000;
