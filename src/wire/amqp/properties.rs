//! The 14 properties of a `basic` content (AMQP 0-9-1 §1.8, §4.2.6.1).
//!
//! A property block is a word of flags, one bit per property from the highest down, and the values
//! of those that are set. Unset and empty differ, and both are kept. The broker passes blocks on
//! as they came and looks into them only when something asks: [`Properties::flags`] and
//! [`PropertyBlock`] answer the usual questions without taking the whole block apart.

use super::super::Malformed;
use super::super::reader::Reader;
use super::super::writer::Writer;
use super::field_table::Table;

pub const CONTENT_TYPE: u16 = 1 << 15;
pub const CONTENT_ENCODING: u16 = 1 << 14;
pub const HEADERS: u16 = 1 << 13;
pub const DELIVERY_MODE: u16 = 1 << 12;
pub const PRIORITY: u16 = 1 << 11;
pub const CORRELATION_ID: u16 = 1 << 10;
pub const REPLY_TO: u16 = 1 << 9;
pub const EXPIRATION: u16 = 1 << 8;
pub const MESSAGE_ID: u16 = 1 << 7;
pub const TIMESTAMP: u16 = 1 << 6;
pub const KIND: u16 = 1 << 5;
pub const USER_ID: u16 = 1 << 4;
pub const APP_ID: u16 = 1 << 3;
pub const CLUSTER_ID: u16 = 1 << 2;

/// Flags that stand for no property. The lowest announces another word of flags, which no class of
/// AMQP 0-9-1 has; the other is not used.
const RESERVED: u16 = 0b11;

/// The block in which no property is set.
pub const NO_PROPERTIES: [u8; 2] = [0, 0];

/// The properties of a message; `None` is unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
    pub headers: Option<Table<'a>>,
    /// 2 is persistent, all else transient.
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    /// Time to live in milliseconds, in decimal digits (RabbitMQ: per-message TTL).
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// The property `type`.
    pub kind: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
    pub app_id: Option<&'a [u8]>,
    /// Reserved since AMQP 0-9-1; `cluster-id` before.
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Takes a whole property block apart.
    pub fn decode(block: &'a [u8]) -> Result<Properties<'a>, Malformed> {
        if block == NO_PROPERTIES {
            return Ok(Properties::default());
        }
        let mut reader = Reader::new(block);
        let flags = reader.short()?;
        if flags & RESERVED != 0 {
            return Err(Malformed::BadPropertyFlags);
        }
        let reader = &mut reader;
        let properties = Properties {
            content_type: optional(flags, CONTENT_TYPE, reader, Reader::short_string)?,
            content_encoding: optional(flags, CONTENT_ENCODING, reader, Reader::short_string)?,
            headers: optional(flags, HEADERS, reader, Reader::table)?,
            delivery_mode: optional(flags, DELIVERY_MODE, reader, Reader::octet)?,
            priority: optional(flags, PRIORITY, reader, Reader::octet)?,
            correlation_id: optional(flags, CORRELATION_ID, reader, Reader::short_string)?,
            reply_to: optional(flags, REPLY_TO, reader, Reader::short_string)?,
            expiration: optional(flags, EXPIRATION, reader, Reader::short_string)?,
            message_id: optional(flags, MESSAGE_ID, reader, Reader::short_string)?,
            timestamp: optional(flags, TIMESTAMP, reader, Reader::timestamp)?,
            kind: optional(flags, KIND, reader, Reader::short_string)?,
            user_id: optional(flags, USER_ID, reader, Reader::short_string)?,
            app_id: optional(flags, APP_ID, reader, Reader::short_string)?,
            cluster_id: optional(flags, CLUSTER_ID, reader, Reader::short_string)?,
        };
        reader.finish()?;
        Ok(properties)
    }

    /// Appends the property block: flags and values.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.short(self.set_flags());
        let writer = &mut writer;
        each(self.content_type, writer, Writer::short_string);
        each(self.content_encoding, writer, Writer::short_string);
        each(self.headers, writer, Writer::table);
        each(self.delivery_mode, writer, Writer::octet);
        each(self.priority, writer, Writer::octet);
        each(self.correlation_id, writer, Writer::short_string);
        each(self.reply_to, writer, Writer::short_string);
        each(self.expiration, writer, Writer::short_string);
        each(self.message_id, writer, Writer::short_string);
        each(self.timestamp, writer, Writer::timestamp);
        each(self.kind, writer, Writer::short_string);
        each(self.user_id, writer, Writer::short_string);
        each(self.app_id, writer, Writer::short_string);
        each(self.cluster_id, writer, Writer::short_string);
    }

    /// The flags of a property block, to be tested with [`HEADERS`] and so on; 0 when the block is
    /// too short to have any (which [`Properties::decode`] refuses).
    #[inline]
    pub fn flags(block: &[u8]) -> u16 {
        match block.first_chunk() {
            Some(&flags) => u16::from_be_bytes(flags),
            None => 0,
        }
    }

    /// The flags of the properties that are set.
    fn set_flags(&self) -> u16 {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        flag(self.content_type.is_some(), CONTENT_TYPE)
            | flag(self.content_encoding.is_some(), CONTENT_ENCODING)
            | flag(self.headers.is_some(), HEADERS)
            | flag(self.delivery_mode.is_some(), DELIVERY_MODE)
            | flag(self.priority.is_some(), PRIORITY)
            | flag(self.correlation_id.is_some(), CORRELATION_ID)
            | flag(self.reply_to.is_some(), REPLY_TO)
            | flag(self.expiration.is_some(), EXPIRATION)
            | flag(self.message_id.is_some(), MESSAGE_ID)
            | flag(self.timestamp.is_some(), TIMESTAMP)
            | flag(self.kind.is_some(), KIND)
            | flag(self.user_id.is_some(), USER_ID)
            | flag(self.app_id.is_some(), APP_ID)
            | flag(self.cluster_id.is_some(), CLUSTER_ID)
    }
}

/// A property block to which a few questions are put on the hot path. Nothing but what lies before
/// the answer is read, and headers are skipped unseen: an answer does not mean that the block is
/// well-formed.
#[derive(Clone, Copy, Debug)]
pub struct PropertyBlock<'a> {
    block: &'a [u8],
}

impl<'a> PropertyBlock<'a> {
    /// The encoded flags and values.
    #[inline]
    pub fn new(block: &'a [u8]) -> Self {
        PropertyBlock { block }
    }

    /// Whether any of the properties in `flags` is set.
    #[inline]
    pub fn has(&self, flags: u16) -> bool {
        Properties::flags(self.block) & flags != 0
    }

    /// The delivery mode: what decides whether the message is persistent.
    #[inline]
    pub fn delivery_mode(&self) -> Result<Option<u8>, Malformed> {
        if !self.has(DELIVERY_MODE) {
            return Ok(None);
        }
        let mut reader = Reader::new(self.block);
        let flags = reader.short()?;
        optional(flags, CONTENT_TYPE, &mut reader, Reader::short_string)?;
        optional(flags, CONTENT_ENCODING, &mut reader, Reader::short_string)?;
        optional(flags, HEADERS, &mut reader, Reader::long_string)?;
        reader.octet().map(Some)
    }

    /// The headers.
    pub fn headers(&self) -> Result<Option<Table<'a>>, Malformed> {
        if !self.has(HEADERS) {
            return Ok(None);
        }
        let mut reader = Reader::new(self.block);
        let flags = reader.short()?;
        optional(flags, CONTENT_TYPE, &mut reader, Reader::short_string)?;
        optional(flags, CONTENT_ENCODING, &mut reader, Reader::short_string)?;
        reader.table().map(Some)
    }

    /// Priority, 0 if it is not set, and expiration, for which see [`parse_expiration`]; both as if unset
    /// if the block ends before.
    #[inline]
    pub fn priority_and_expiration(self) -> (u8, Option<&'a [u8]>) {
        if !self.has(PRIORITY | EXPIRATION) {
            return (0, None);
        }
        self.find_priority_and_expiration().unwrap_or((0, None))
    }

    fn find_priority_and_expiration(self) -> Result<(u8, Option<&'a [u8]>), Malformed> {
        let reader = &mut Reader::new(self.block);
        let flags = reader.short()?;
        optional(flags, CONTENT_TYPE, reader, Reader::short_string)?;
        optional(flags, CONTENT_ENCODING, reader, Reader::short_string)?;
        optional(flags, HEADERS, reader, Reader::long_string)?;
        optional(flags, DELIVERY_MODE, reader, Reader::octet)?;
        let priority = optional(flags, PRIORITY, reader, Reader::octet)?.unwrap_or(0);
        if flags & EXPIRATION == 0 {
            return Ok((priority, None));
        }
        optional(flags, CORRELATION_ID, reader, Reader::short_string)?;
        optional(flags, REPLY_TO, reader, Reader::short_string)?;
        Ok((priority, Some(reader.short_string()?)))
    }
}

/// The milliseconds of an `expiration`.
///
/// # Errors
/// RabbitMQ's word for what is wrong.
pub fn parse_expiration(text: &[u8]) -> Result<u64, String> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, leftover) = digits.split_at(count);
    if digits.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !leftover.is_empty() {
        let leftover = String::from_utf8_lossy(leftover);
        return Err(format!("{{leftover_string,\"{leftover}\"}}"));
    }
    let shown = String::from_utf8_lossy(digits);
    let shown = match shown.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    match shown.parse::<u64>() {
        _ if negative && shown != "0" => Err(format!("{{value_negative,-{shown}}}")),
        Ok(milliseconds) if milliseconds <= EXPIRATION_MAX_MS => Ok(milliseconds),
        _ => Err(format!("{{value_too_large,{shown}}}")),
    }
}

/// Reads a value if its flag is set.
#[inline]
fn optional<'a, T>(
    flags: u16,
    flag: u16,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if flags & flag == 0 {
        return Ok(None);
    }
    read(reader).map(Some)
}

/// Writes a value if it is set.
#[inline]
fn each<'w, T>(value: Option<T>, writer: &mut Writer<'w>, write: impl FnOnce(&mut Writer<'w>, T)) {
    if let Some(value) = value {
        write(writer, value);
    }
}

/// Ten years of 365 days (RabbitMQ).
const EXPIRATION_MAX_MS: u64 = 315_360_000_000;

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::super::field_table::{OwnedTable, TableBuilder};
    use super::*;

    fn every_property(headers: &OwnedTable) -> Properties<'_> {
        Properties {
            content_type: Some(b"text/plain"),
            content_encoding: Some(b""),
            headers: Some(headers.view()),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some(b"id-\xff"),
            reply_to: Some(b"amq.rabbitmq.reply-to"),
            expiration: Some(b"60000"),
            message_id: Some(b"m"),
            timestamp: Some(u64::MAX),
            kind: Some(b"event"),
            user_id: Some(b"guest"),
            app_id: Some(b"test"),
            cluster_id: Some(b"c"),
        }
    }

    fn headers() -> OwnedTable {
        let mut builder = TableBuilder::new();
        builder.put("x-retries", 3);
        builder.finish()
    }

    /// Those of `all` whose flag is set in `flags`.
    fn subset(all: Properties<'_>, flags: u16) -> Properties<'_> {
        let has = |flag: u16| flags & flag != 0;
        Properties {
            content_type: all.content_type.filter(|_| has(CONTENT_TYPE)),
            content_encoding: all.content_encoding.filter(|_| has(CONTENT_ENCODING)),
            headers: all.headers.filter(|_| has(HEADERS)),
            delivery_mode: all.delivery_mode.filter(|_| has(DELIVERY_MODE)),
            priority: all.priority.filter(|_| has(PRIORITY)),
            correlation_id: all.correlation_id.filter(|_| has(CORRELATION_ID)),
            reply_to: all.reply_to.filter(|_| has(REPLY_TO)),
            expiration: all.expiration.filter(|_| has(EXPIRATION)),
            message_id: all.message_id.filter(|_| has(MESSAGE_ID)),
            timestamp: all.timestamp.filter(|_| has(TIMESTAMP)),
            kind: all.kind.filter(|_| has(KIND)),
            user_id: all.user_id.filter(|_| has(USER_ID)),
            app_id: all.app_id.filter(|_| has(APP_ID)),
            cluster_id: all.cluster_id.filter(|_| has(CLUSTER_ID)),
        }
    }

    fn encoded(properties: &Properties<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        properties.encode(&mut out);
        out
    }

    #[test]
    fn every_subset_of_the_properties_is_decoded_as_it_was_encoded() {
        let headers = headers();
        for flags in (0..=u16::MAX).step_by(4) {
            let properties = subset(every_property(&headers), flags);
            let block = encoded(&properties);
            assert_eq!(Properties::flags(&block), flags);
            assert_eq!(Properties::decode(&block), Ok(properties));
            let mode = PropertyBlock::new(&block).delivery_mode();
            assert_eq!(mode, Ok(properties.delivery_mode));
            let found = PropertyBlock::new(&block).priority_and_expiration();
            let priority = properties.priority.unwrap_or(0);
            assert_eq!(found, (priority, properties.expiration));
        }
    }

    #[test]
    fn properties_follow_one_another_in_the_order_of_their_flags() {
        let headers = headers();
        let block = encoded(&every_property(&headers));
        let expected: &[u8] = b"\xff\xfc\
            \x0atext/plain\
            \x00\
            \x00\x00\x00\x0f\x09x-retriesI\x00\x00\x00\x03\
            \x02\
            \x09\
            \x04id-\xff\
            \x15amq.rabbitmq.reply-to\
            \x0560000\
            \x01m\
            \xff\xff\xff\xff\xff\xff\xff\xff\
            \x05event\
            \x05guest\
            \x04test\
            \x01c";
        assert_eq!(block, expected);
    }

    #[test]
    fn no_properties_are_two_zero_octets() {
        assert_eq!(encoded(&Properties::default()), NO_PROPERTIES);
        assert_eq!(
            Properties::decode(&NO_PROPERTIES),
            Ok(Properties::default())
        );
        assert!(!PropertyBlock::new(&NO_PROPERTIES).has(u16::MAX));
    }

    #[test]
    fn a_block_cut_short_or_too_long_is_refused() {
        let headers = headers();
        let mut block = encoded(&every_property(&headers));
        for end in 0..block.len() {
            assert_eq!(
                Properties::decode(&block[..end]),
                Err(Malformed::Truncated),
                "cut at {end}"
            );
        }
        block.push(0);
        assert_eq!(Properties::decode(&block), Err(Malformed::TrailingBytes));
        assert_eq!(
            Properties::decode(&[0, 0, 0]),
            Err(Malformed::TrailingBytes)
        );
    }

    #[test]
    fn flags_of_no_property_are_refused() {
        for low in [1, 2, 3] {
            assert_eq!(
                Properties::decode(&[0, low, 0, 0]),
                Err(Malformed::BadPropertyFlags)
            );
        }
    }

    #[test]
    fn the_delivery_mode_of_a_short_block_is_an_error() {
        for block in [&[0x10, 0][..], &[0x90, 0, 5, b'a'], &[0x30, 0, 0, 0, 1]] {
            assert_eq!(
                PropertyBlock::new(block).delivery_mode(),
                Err(Malformed::Truncated)
            );
        }
        assert_eq!(PropertyBlock::new(&[0x10]).delivery_mode(), Ok(None));
    }

    #[test]
    fn expirations_are_parsed_as_rabbitmq_does() {
        for (text, parsed) in [
            ("0", Ok(0)),
            ("60000", Ok(60_000)),
            ("+5", Ok(5)),
            ("007", Ok(7)),
            ("", Err("no_integer")),
            ("abc", Err("no_integer")),
            ("12.5", Err("{leftover_string,\".5\"}")),
            ("-1", Err("{value_negative,-1}")),
            ("315360000001", Err("{value_too_large,315360000001}")),
            (
                "99999999999999999999999",
                Err("{value_too_large,99999999999999999999999}"),
            ),
        ] {
            let expected = parsed.map_err(str::to_owned);
            assert_eq!(parse_expiration(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_properties_are_decoded_as_they_were_encoded(
            strings in prop::array::uniform10(option::of(prop::collection::vec(any::<u8>(), 0..=255))),
            headers in option::of(arbitrary::table()),
            delivery_mode in any::<Option<u8>>(),
            priority in any::<Option<u8>>(),
            timestamp in any::<Option<u64>>(),
        ) {
            let headers = headers.as_deref().map(|entries| Table::from_encoded(entries).unwrap());
            let [content_type, content_encoding, correlation_id, reply_to, expiration, message_id,
                kind, user_id, app_id, cluster_id] = strings.each_ref().map(Option::as_deref);
            let properties = Properties {
                content_type, content_encoding, headers, delivery_mode, priority, correlation_id,
                reply_to, expiration, message_id, timestamp, kind, user_id, app_id, cluster_id,
            };
            let block = encoded(&properties);
            prop_assert_eq!(Properties::decode(&block), Ok(properties));
            prop_assert_eq!(PropertyBlock::new(&block).delivery_mode(), Ok(delivery_mode));
            let found = PropertyBlock::new(&block).priority_and_expiration();
            prop_assert_eq!(found, (priority.unwrap_or(0), expiration));
        }

        #[test]
        fn random_blocks_are_refused_or_encoded_as_they_came(
            block in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            PropertyBlock::new(&block).priority_and_expiration();
            if let Ok(properties) = Properties::decode(&block) {
                prop_assert_eq!(encoded(&properties), &block[..]);
            }
        }
    }
}
