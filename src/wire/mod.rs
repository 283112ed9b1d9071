//! Bytes to values and back, for every protocol. No state, no IO, no clock.
//!
//! Everything a peer sent is read through [`reader::Reader`], whose every step is checked: short or
//! wrong input is a [`Malformed`] value, never a panic. Values borrow from the bytes they were read
//! from; nothing on the way of a message allocates on decoding. Which reply code a fault becomes is
//! decided above.

pub mod amqp;
pub mod number;
pub mod proxy;
pub mod reader;
pub mod writer;
pub mod x509;

use std::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A value reaches beyond the end of what encloses it.
    Truncated,
    /// Bytes are left after the last value.
    TrailingBytes,
    /// Field tables and arrays are nested deeper than
    /// [`DEPTH_MAX`](amqp::field_table::DEPTH_MAX).
    TableTooDeep,
    /// A field table or array holds a value with this unknown type tag.
    BadFieldType(u8),
    /// Property flags that stand for no property, or that announce further flags
    /// (AMQP 0-9-1 §4.2.6.1; no class has more than 14 properties).
    BadPropertyFlags,
    /// A frame ends with this octet and not with 0xCE.
    BadFrameEnd(u8),
    /// A frame announces more payload than was negotiated; sizes in bytes.
    FrameTooLarge {
        kind: u8,
        channel: u16,
        payload: u32,
        /// Largest payload the peer should have sent: `frame_max` without the frame's overhead.
        max: u32,
    },
    /// A frame of a type that AMQP 0-9-1 §4.2.3 does not know.
    UnknownFrameType(u8),
    /// No such class, or no such method in it.
    UnknownMethod { class: u16, method: u16 },
    /// No certificate, or not one that can be made sense of; why.
    BadCertificate(&'static str),
    /// No header of the PROXY protocol; why.
    BadProxyHeader(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Malformed::Truncated => f.write_str("a value is cut short"),
            Malformed::TrailingBytes => f.write_str("bytes left after the last value"),
            Malformed::TableTooDeep => f.write_str("field table nested too deep"),
            Malformed::BadFieldType(tag) => {
                write!(
                    f,
                    "unknown field table type '{}'",
                    char::from(tag).escape_default()
                )
            }
            Malformed::BadPropertyFlags => f.write_str("unknown property flags"),
            Malformed::BadFrameEnd(octet) => write!(f, "frame ends with {octet}, not 206"),
            Malformed::FrameTooLarge {
                kind,
                channel,
                payload,
                max,
            } => write!(
                f,
                "frame of type {kind} on channel {channel} too large: {payload} bytes, at most {max}"
            ),
            Malformed::UnknownFrameType(kind) => write!(f, "unknown frame type {kind}"),
            Malformed::UnknownMethod { class, method } => {
                write!(f, "unknown method {method} of class {class}")
            }
            Malformed::BadCertificate(why) | Malformed::BadProxyHeader(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_what_was_wrong() {
        assert_eq!(
            Malformed::BadFieldType(b'?').to_string(),
            "unknown field table type '?'"
        );
        let too_large = Malformed::FrameTooLarge {
            kind: 3,
            channel: 7,
            payload: 5000,
            max: 4088,
        };
        assert_eq!(
            too_large.to_string(),
            "frame of type 3 on channel 7 too large: 5000 bytes, at most 4088"
        );
    }
}
