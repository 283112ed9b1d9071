//! Channel and connection exceptions (AMQP 0-9-1 §1.1, §4.8.1): what went wrong, as the client reads it.

use crate::broker;
use crate::wire::Malformed;
use crate::wire::amqp::ReplyCode;

/// Ends a channel or, if its code is a hard one, the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    pub code: ReplyCode,
    /// What stands behind the name of the code; may be empty.
    pub text: String,
    /// Class and method id of the method at fault, if its reader knows better than its caller.
    pub method: Option<(u16, u16)>,
}

pub type Result<T, E = Exception> = std::result::Result<T, E>;

impl Exception {
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Exception {
            code,
            text: text.into(),
            method: None,
        }
    }

    /// With the ids of the method at fault.
    pub fn of(self, method: (u16, u16)) -> Self {
        Exception {
            method: Some(method),
            ..self
        }
    }

    /// `PRECONDITION_FAILED - unknown delivery tag 7`, cut to what a short string holds as RabbitMQ
    /// cuts it.
    pub fn reply_text(&self) -> Vec<u8> {
        let mut text = self.code.name().as_bytes().to_vec();
        if !self.text.is_empty() {
            text.extend_from_slice(b" - ");
            text.extend_from_slice(self.text.as_bytes());
        }
        if text.len() > 255 {
            text.truncate(252);
            text.extend_from_slice(b"...");
        }
        text
    }
}

/// The one place where what the broker refuses becomes a reply code.
impl From<broker::Error> for Exception {
    fn from(error: broker::Error) -> Self {
        use broker::Error;
        match error {
            Error::NotFound(text) => Exception::new(ReplyCode::NotFound, text),
            Error::AccessRefused(text) => Exception::new(ReplyCode::AccessRefused, text),
            Error::PreconditionFailed(text) => Exception::new(ReplyCode::PreconditionFailed, text),
            Error::ResourceLocked(text) => Exception::new(ReplyCode::ResourceLocked, text),
            Error::NotAllowed(text) => Exception::new(ReplyCode::NotAllowed, text),
            Error::CommandInvalid(text) => Exception::new(ReplyCode::CommandInvalid, text),
            Error::NotImplemented(text) => Exception::new(ReplyCode::NotImplemented, text),
            Error::ConnectionForced(text) => {
                Exception::new(ReplyCode::ConnectionForced, text).of((0, 0))
            }
        }
    }
}

/// Bytes inside a frame that make no sense. For frames and methods see [`super::frame_error`].
impl From<Malformed> for Exception {
    fn from(malformed: Malformed) -> Self {
        Exception::new(ReplyCode::FrameError, malformed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_to_a_short_string() {
        let exception = Exception::new(ReplyCode::NotFound, "x".repeat(300));
        let text = exception.reply_text();
        assert_eq!(text.len(), 255);
        assert!(text.starts_with(b"NOT_FOUND - xxx") && text.ends_with(b"x..."));
        let bare = Exception::new(ReplyCode::InternalError, "");
        assert_eq!(bare.reply_text(), b"INTERNAL_ERROR");
    }
}
