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
