//! Looking into queues without a trace, and moving dead letters back or messages elsewhere. Ours: RabbitMQ
//! can do neither with its classic queues.
//!
//! ```text
//!   GET  /queues/:vhost/:queue/browse?after=CURSOR&count=50&search=TEXT&truncate=2048
//!   POST /queues/:vhost/:queue/redrive  {"count": N|null, "search": TEXT|null,
//!                                        "to": "origin" | {"exchange": "", "routing_key": ""},
//!                                        "dry_run": false, "rate": MESSAGES-PER-SECOND|null}
//! ```
//!
//! Both go through the queue in pieces that the loop does not notice; what has to be read back comes here
//! straight from the disk; and searching, which may take long, is done here. Messages are shown and moved
//! as the user who asks, who needs the permissions of `get`, and of `publish` for the target.
//!
//! A cursor says at which message to go on, by its place and not by a count; see
//! [`Place`](crate::broker::browse::Place) for what that means when messages come and go.

use std::collections::HashMap;
use std::sync::{MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::messages::{encoded_payload, shown_properties};
use super::topology::{as_user, check_short, exchange_name};
use crate::broker::browse::{Place, Seen, Wanted};
use crate::broker::journal::StoredMessages;
use crate::broker::message::{MessageId, OwnedMessage};
use crate::broker::queue::Entry;
use crate::broker::redrive::Earnest;
use crate::broker::{ChannelKey, Message};
use crate::management::call::{Call, PATIENCE};
use crate::management::http::Method;
use crate::management::input::Input;
use crate::management::refusal::json_response;
use crate::management::terms::json_of;
use crate::management::{Answer, Refusal};
use crate::protocol::amqp::{Exception, RedriveCounts};
use crate::protocol::errand::Unanswered;
use crate::protocol::page_readers::Page;
use crate::wire::amqp::field_table::{Table, Value as Field};
use crate::wire::amqp::{Properties, ReplyCode};

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["queues", vhost, name, "browse"] => browse(call, vhost, name),
        ["queues", vhost, name, "redrive"] => redrive(call, vhost, name),
        _ => return None,
    })
}

/// A message as it is shown.
#[derive(Serialize)]
struct ShownMessage {
    /// How many were met before it since the beginning.
    position: u64,
    exchange: String,
    routing_key: String,
    redelivered: bool,
    state: &'static str,
    /// Of one that is retrying: when it is ready again, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_ms: Option<u64>,
    properties: Value,
    payload: String,
    payload_encoding: &'static str,
    payload_bytes: usize,
}

/// What `GET .../browse` asks for.
struct Question {
    count: usize,
    search: Option<Search>,
    truncate: usize,
}

fn browse(call: &Call<'_>, vhost: &str, queue: &str) -> Answer {
    call.only_get()?;
    check_short(queue)?;
    let after = call.request.parameter("after").filter(|it| !it.is_empty());
    let cursor = match after {
        Some(text) => Cursor::parse(text).ok_or_else(|| Refusal::bad("no cursor of ours"))?,
        None => Cursor::START,
    };
    let question = Question {
        count: number(call, "count", COUNT)?.clamp(1, COUNT_MAX),
        search: Search::of(call.request.parameter("search"))?,
        truncate: number(call, "truncate", TRUNCATE)?.min(TRUNCATE_MAX),
    };
    let walk = Walk::new(call, vhost, queue, cursor);
    let (messages, next, searched) = look(walk, &question)?;
    let next = next.map(|cursor| cursor.to_string());
    let answer = json!({"messages": messages, "next": next, "searched": searched});
    Ok(json_response(200, &answer))
}

/// The messages that are asked for, where to go on, and how many were looked at.
fn look(
    mut walk: Walk<'_>,
    question: &Question,
) -> Result<(Vec<ShownMessage>, Option<Cursor>, usize), Refusal> {
    let mut shown: Vec<ShownMessage> = Vec::new();
    let (mut searched, mut shown_bytes, mut searched_bytes) = (0, 0, 0);
    loop {
        let count_max = match question.search {
            Some(_) => PIECE,
            None => question.count - shown.len(),
        };
        for found in walk.piece(count_max, None)? {
            let is_enough = shown.len() >= question.count
                || searched >= SEARCHED_MAX
                || searched_bytes >= SEARCHED_BYTES_MAX
                || shown_bytes >= SHOWN_BYTES_MAX;
            if is_enough {
                return Ok((shown, Some(found.cursor), searched));
            }
            searched += 1;
            let message = found.message.message();
            searched_bytes += message.body.len();
            if question.search.as_ref().is_none_or(|it| it.hits(&message)) {
                let message = found.show(question.truncate);
                shown_bytes += message.payload.len();
                shown.push(message);
            }
        }
        let is_enough = shown.len() >= question.count || searched >= SEARCHED_MAX;
        match walk.next {
            Some(cursor) if !is_enough => walk.from = cursor,
            next => return Ok((shown, next, searched)),
        }
    }
}

fn number(call: &Call<'_>, name: &str, default: usize) -> Result<usize, Refusal> {
    match call.request.parameter(name) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::said(json!(["not_integer", text]))),
    }
}

/// What `POST .../redrive` asks for.
struct Order {
    count: usize,
    search: Option<Search>,
    /// `None`: where they died. A key that is not given is each message's own.
    to: Option<(String, Option<String>)>,
    earnest: Earnest,
    /// Messages in a second, at most.
    rate: Option<usize>,
}

impl Order {
    fn read(input: &Input) -> Result<Order, Refusal> {
        let to = match input.get("to") {
            None => None,
            Some(Value::String(text)) if text == "origin" => None,
            Some(Value::Object(target)) => {
                let target = Input::from(target.clone());
                let exchange = exchange_name(target.text("exchange")?.unwrap_or_default());
                let key = target.text("routing_key")?.filter(|key| !key.is_empty());
                check_short(exchange)?;
                check_short(key.unwrap_or_default())?;
                Some((exchange.to_owned(), key.map(str::to_owned)))
            }
            Some(other) => return Err(Refusal::said(json!(["unknown_target", other]))),
        };
        let count = match input.integer("count")? {
            None => usize::MAX,
            Some(count) => usize::try_from(count)
                .map_err(|_| Refusal::said(json!(["negative_count", count])))?,
        };
        let rate = match input.integer("rate")? {
            None => None,
            Some(rate) => match usize::try_from(rate) {
                Ok(rate) if rate > 0 => Some(rate),
                _ => return Err(Refusal::said(json!(["rate_is_not_positive", rate]))),
            },
        };
        Ok(Order {
            count,
            search: Search::of(input.text("search")?)?,
            to,
            earnest: match input.flag("dry_run")? {
                Some(true) => Earnest::Trial,
                _ => Earnest::Done,
            },
            rate,
        })
    }
}

/// Moves what was in the queue when this began; what comes meanwhile, also back, stays. At a pace, it goes on for so
/// long, and says whether there is more for another request.
fn redrive(call: &Call<'_>, vhost: &str, queue: &str) -> Answer {
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    check_short(queue)?;
    let order = Order::read(&Input::of(call)?)?;
    let mut pace = Pace::of(call, &order)?;
    let mut walk = Walk::new(call, vhost, queue, Cursor::START);
    let mut counts = RedriveCounts::default();
    let mut end = None;
    // Also where nothing is to be moved, it is said if the user may not.
    move_some(call, (vhost, queue), &order, Vec::new())?;
    while counts.moved < order.count && !pace.is_over() {
        let piece = walk.piece(MOVED_MAX, Some(end.unwrap_or(NO_END)))?;
        end = end.or(walk.end);
        let hits = piece.into_iter().filter(|found| {
            let message = found.message.message();
            order.search.as_ref().is_none_or(|it| it.hits(&message))
        });
        let mut chosen: Vec<_> = hits.map(|found| (found.entry, found.message)).collect();
        while !chosen.is_empty() && counts.moved < order.count && !pace.is_over() {
            let left = order.count - counts.moved;
            let some = take_some(&mut chosen, left.min(pace.step));
            let done = move_some(call, (vhost, queue), &order, some);
            let done = done.map_err(|refusal| said_with(refusal, counts.moved))?;
            counts.moved += done.moved;
            counts.stayed += done.stayed;
            pace.keep(done.moved);
        }
        match walk.next {
            Some(cursor) => walk.from = cursor,
            None => break,
        }
    }
    let mut answer = json!({"moved": counts.moved, "skipped": counts.stayed});
    if order.rate.is_some() {
        answer["more"] = json!(pace.is_over() && counts.moved < order.count);
    }
    Ok(json_response(200, &answer))
}

/// So many messages in a second, by pauses between them.
struct Pace<'c> {
    /// Messages at once, and the pause for each; none where there is no hurry to be kept from.
    step: usize,
    pause: Duration,
    paused: Duration,
    /// A request that takes its time takes up a thread: there is one at a time.
    _turn: Option<MutexGuard<'c, ()>>,
}

impl<'c> Pace<'c> {
    fn of(call: &Call<'c>, order: &Order) -> Result<Pace<'c>, Refusal> {
        let rate = order.rate.filter(|_| order.earnest == Earnest::Done);
        let mut pace = Pace {
            step: usize::MAX,
            pause: Duration::ZERO,
            paused: Duration::ZERO,
            _turn: None,
        };
        if let Some(rate) = rate {
            let turn = match call.management.pacing.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    let busy = "somebody else moves messages at a rate";
                    return Err(Refusal::Unavailable(busy.to_owned()));
                }
            };
            pace.step = (rate / STEPS_PER_SECOND).max(1);
            pace.pause = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX);
            pace._turn = Some(turn);
        }
        Ok(pace)
    }

    /// Whether it has taken long enough for one request.
    fn is_over(&self) -> bool {
        self.paused >= PACED_MAX
    }

    fn keep(&mut self, moved: usize) {
        let pause = self
            .pause
            .saturating_mul(u32::try_from(moved).unwrap_or(u32::MAX));
        let pause = pause.min(PACED_MAX);
        self.paused += pause;
        thread::sleep(pause);
    }
}

type Chosen = Vec<(Entry, OwnedMessage)>;

/// Takes as many from the front as one errand may move.
fn take_some(chosen: &mut Chosen, count_max: usize) -> Chosen {
    let mut bytes = 0;
    let sizes = chosen
        .iter()
        .map(|(_, message)| message.message().body.len());
    let fitting = sizes.take_while(|size| {
        let is_room = bytes < MOVED_BYTES_MAX;
        bytes += size;
        is_room
    });
    let count = fitting.count().min(count_max).min(MOVED_MAX);
    let rest = chosen.split_off(count);
    std::mem::replace(chosen, rest)
}

/// One errand, which is done when what it moved is stored.
fn move_some(
    call: &Call<'_>,
    (vhost, queue): (&str, &str),
    order: &Order,
    messages: Chosen,
) -> Result<RedriveCounts, Refusal> {
    let messages = std::sync::Arc::new(messages);
    let earnest = order.earnest;
    let mut pauses = 0;
    loop {
        let (queue, to) = (queue.to_owned(), order.to.clone());
        let messages = std::sync::Arc::clone(&messages);
        let done = as_user(call, vhost, refusal, move |guest| {
            let to = to.as_ref().map(|(exchange, key)| {
                let key = key.as_ref().map(|key| key.as_bytes());
                (exchange.as_bytes(), key)
            });
            guest.redrive(queue.as_bytes(), &messages, to, earnest)
        });
        match done {
            // Others may fill the disk's time for a moment.
            Err(Refusal::Unavailable(_)) if pauses < PAUSES_MAX => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn refusal(exception: Exception) -> Refusal {
    let text = format!("{} - {}", exception.code.name(), exception.text);
    match exception.code {
        ReplyCode::NotFound => Refusal::Missing(text),
        ReplyCode::AccessRefused | ReplyCode::NotAllowed => Refusal::NotAuthorized(text),
        ReplyCode::ResourceError => {
            Refusal::Unavailable(format!("publishers are blocked: {}", exception.text))
        }
        _ => Refusal::bad(text),
    }
}

/// The refusal, when some were moved before.
fn said_with(refusal: Refusal, moved: usize) -> Refusal {
    match refusal {
        Refusal::Unavailable(why) if moved > 0 => {
            Refusal::Unavailable(format!("{why}; {moved} messages were moved before"))
        }
        other => other,
    }
}

/// On the way through a queue.
struct Walk<'c> {
    call: &'c Call<'c>,
    vhost: &'c str,
    queue: &'c str,
    from: Cursor,
    /// Behind the last piece; `None` at the end.
    next: Option<Cursor>,
    /// Above the ids of all messages at the first piece.
    end: Option<MessageId>,
}

/// A message that was come by.
struct Found {
    cursor: Cursor,
    entry: Entry,
    message: OwnedMessage,
}

impl<'c> Walk<'c> {
    fn new(call: &'c Call<'c>, vhost: &'c str, queue: &'c str, from: Cursor) -> Self {
        Walk {
            call,
            vhost,
            queue,
            from,
            next: None,
            end: None,
        }
    }

    /// The messages from `from` on, one errand's worth. What was paged out is waited for; what is not
    /// there any more when it is read is not among them.
    fn piece(
        &mut self,
        count_max: usize,
        ready_before: Option<MessageId>,
    ) -> Result<Vec<Found>, Refusal> {
        let wanted = Wanted {
            from: self.from.place(),
            count_max,
            ready_before,
        };
        let queue = self.queue.to_owned();
        let (glance, pages) = as_user(self.call, self.vhost, refusal, move |guest| {
            guest.browse(queue.as_bytes(), &wanted)
        })?;
        self.end.get_or_insert(glance.end);
        let mut read = read_back(&glance.seen, &pages)?;
        let mut position = self.from.position;
        let mut found = Vec::with_capacity(glance.seen.len());
        for seen in glance.seen {
            let id = seen.entry.message();
            let Some(message) = seen.message.or_else(|| read.remove(&id)) else {
                continue;
            };
            found.push(Found {
                cursor: Cursor {
                    place: Some(seen.place),
                    position,
                },
                entry: seen.entry,
                message,
            });
            position = position.saturating_add(1);
        }
        self.next = glance.next.map(|place| Cursor {
            place: Some(place),
            position,
        });
        Ok(found)
    }
}

/// Those that were paged out, from their pages.
fn read_back(
    seen: &[Seen],
    pages: &Receiver<Page>,
) -> Result<HashMap<MessageId, OwnedMessage>, Refusal> {
    let absent = seen.iter().filter(|seen| seen.message.is_none());
    let absent: std::collections::HashSet<_> = absent.map(|seen| seen.entry.message()).collect();
    let mut read = HashMap::new();
    loop {
        match pages.recv_timeout(PATIENCE) {
            Ok(page) => {
                let stored = StoredMessages::new(&page.encoded);
                let wanted = stored.filter(|stored| absent.contains(&stored.id));
                read.extend(wanted.map(|stored| (stored.id, OwnedMessage::of(&stored.message))));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(read),
            Err(RecvTimeoutError::Timeout) => return Err(Unanswered::Late.into()),
        }
    }
}

impl Found {
    fn show(&self, truncate: usize) -> ShownMessage {
        let message = self.message.message();
        let body = message.body.as_slice();
        let (payload, payload_encoding) = encoded_payload(cut(body, truncate), false);
        let mut properties = match shown_properties(message.properties) {
            Value::Object(properties) => properties,
            _ => Map::new(),
        };
        properties.entry("headers").or_insert_with(|| json!({}));
        ShownMessage {
            position: self.cursor.position,
            exchange: String::from_utf8_lossy(message.exchange).into_owned(),
            routing_key: String::from_utf8_lossy(message.routing_key).into_owned(),
            redelivered: self.entry.redelivered(),
            state: match self.cursor.place() {
                Place::Ready(_) => "ready",
                Place::Unacked { .. } => "unacked",
                Place::Retrying { .. } => "retrying",
            },
            due_ms: match self.cursor.place() {
                Place::Retrying { at_ms, .. } => Some(at_ms),
                _ => None,
            },
            properties: Value::Object(properties),
            payload,
            payload_encoding,
            payload_bytes: body.len(),
        }
    }
}

/// Its beginning, and if that is text, no half character at the end.
fn cut(body: &[u8], size_max: usize) -> &[u8] {
    if body.len() <= size_max {
        return body;
    }
    let beginning = &body[..size_max];
    match std::str::from_utf8(beginning) {
        Err(error) if error.error_len().is_none() => &beginning[..error.valid_up_to()],
        _ => beginning,
    }
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// `None`: at the beginning.
    place: Option<Place>,
    /// Messages met before.
    position: u64,
}

impl Cursor {
    const START: Cursor = Cursor {
        place: None,
        position: 0,
    };

    fn place(&self) -> Place {
        self.place.unwrap_or_else(Place::start)
    }

    /// From its text; `None` if it is not one of ours.
    fn parse(text: &str) -> Option<Cursor> {
        let (kind, numbers) = text.split_at_checked(1)?;
        let numbers = numbers.split('.').map(|number| number.parse().ok());
        let numbers: Option<Vec<u64>> = numbers.collect();
        let [one, two, position] = numbers?.try_into().ok()?;
        let place = match kind {
            "r" if two <= MessageId::MAX => {
                let priority = u8::try_from(one).ok()?;
                Place::Ready(Entry::with_priority(MessageId::from_bits(two), priority))
            }
            "t" if two <= MessageId::MAX => Place::Retrying {
                at_ms: one,
                entry: Entry::new(MessageId::from_bits(two)),
            },
            "u" => Place::Unacked {
                channel: ChannelKey::from_bits(one),
                delivery_tag: two,
            },
            _ => return None,
        };
        Some(Cursor {
            place: Some(place),
            position,
        })
    }
}

/// Opaque to its readers.
impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, one, two) = match self.place() {
            Place::Ready(entry) => ('r', entry.priority().into(), entry.message().to_bits()),
            Place::Unacked {
                channel,
                delivery_tag,
            } => ('u', channel.to_bits(), delivery_tag),
            Place::Retrying { at_ms, entry } => ('t', at_ms, entry.message().to_bits()),
        };
        write!(f, "{kind}{one}.{two}.{}", self.position)
    }
}

/// Text that is looked for, whatever its case: in routing keys, in names and values of headers, and in
/// bodies that are text.
struct Search(String);

impl Search {
    fn of(text: Option<&str>) -> Result<Option<Search>, Refusal> {
        let text = text.map(str::trim).filter(|text| !text.is_empty());
        match text {
            Some(text) if text.len() > SEARCH_MAX => Err(Refusal::bad(format!(
                "a search has at most {SEARCH_MAX} bytes"
            ))),
            text => Ok(text.map(|text| Search(text.to_lowercase()))),
        }
    }

    fn hits(&self, message: &Message<'_>) -> bool {
        let headers = Properties::decode(message.properties).map(|it| it.headers);
        self.is_in(message.routing_key)
            || headers
                .ok()
                .flatten()
                .is_some_and(|headers| self.is_in_table(headers))
            || self.is_in(message.body.as_slice())
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes);
        text.is_ok_and(|text| text.to_lowercase().contains(&self.0))
    }

    fn is_in_table(&self, table: Table<'_>) -> bool {
        table
            .iter()
            .any(|(name, value)| self.is_in(name) || self.is_in_field(value))
    }

    fn is_in_field(&self, value: Field<'_>) -> bool {
        match value {
            Field::Table(table) => self.is_in_table(table),
            Field::Array(array) => array.iter().any(|value| self.is_in_field(value)),
            Field::LongString(bytes) => self.is_in(bytes),
            other => self.is_in(json_of(other).to_string().as_bytes()),
        }
    }
}

/// Messages shown where nobody says how many, and at most.
const COUNT: usize = 50;
const COUNT_MAX: usize = 200;
/// Bytes of each that are shown.
const TRUNCATE: usize = 2048;
const TRUNCATE_MAX: usize = 1 << 20;
/// Of one answer, and one message more.
const SHOWN_BYTES_MAX: usize = 16 << 20;
/// Messages looked at for one answer, and bytes of their bodies, and one message more: a second or so.
const SEARCHED_MAX: usize = 5000;
const SEARCHED_BYTES_MAX: usize = 64 << 20;
/// Bytes of what is looked for.
const SEARCH_MAX: usize = 1024;

/// Messages that one errand looks at for a search.
const PIECE: usize = 256;
/// Messages that one errand moves, and bytes of their bodies, and one message more: under a millisecond
/// on the loop, if they are small.
const MOVED_MAX: usize = 200;
const MOVED_BYTES_MAX: usize = 1 << 20;
/// Before the end is known.
const NO_END: MessageId = MessageId::from_bits(MessageId::MAX);

/// How long publishers' being blocked is waited out.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES_MAX: usize = 100;

/// At a rate, a request is answered after so long.
const PACED_MAX: Duration = Duration::from_secs(10);
const STEPS_PER_SECOND: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let entry = Entry::with_priority(MessageId::from_bits(7_000_000_000), 9);
        let places = [
            Place::Ready(entry),
            Place::Unacked {
                channel: ChannelKey::from_bits(3 << 32 | 5),
                delivery_tag: 11,
            },
            Place::Retrying {
                at_ms: 1_800_000_000_000,
                entry: Entry::new(MessageId::from_bits(7)),
            },
        ];
        for place in places {
            let cursor = Cursor {
                place: Some(place),
                position: 250,
            };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        let too_large = format!("r0.{}.0", u64::MAX);
        for text in [
            "", "r", "r1.2", "r1.2.3.4", "x1.2.3", "r256.0.0", "ä", "r-1.0.0", &too_large,
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("häus".as_bytes(), 2), b"h");
        assert_eq!(cut("häus".as_bytes(), 3), "hä".as_bytes());
        assert_eq!(cut(b"\xff\xfe\xfd", 2), b"\xff\xfe");
        assert_eq!(cut(b"ab", 2), b"ab");
    }
}
