//! Who an event is about. mio hands back the number that was registered, and a `usize` of 32 bits has
//! no room for a generation beside the index, so a socket's token is its index alone.
//!
//! That is enough. The loop frees a slot and closes its descriptor in the reap stage, after all events
//! of the turn have been marked, and a closed descriptor has no events in the next poll. Even a late
//! one would only be a hint to its slot's new tenant: it costs one read that finds nothing.

use mio::Token;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// Another thread sent a command, or wants the loop to look around.
    Waker,
    Signals,
    /// Index among the listeners.
    Listener(usize),
    /// Index of the socket's key.
    Socket(usize),
}

/// More listening addresses than this are refused at start.
pub(super) const LISTENERS_MAX: usize = 64;

impl Source {
    pub fn token(self) -> Token {
        Token(match self {
            Source::Waker => WAKER,
            Source::Signals => SIGNALS,
            Source::Listener(index) => FIRST_LISTENER + index,
            Source::Socket(index) => FIRST_SOCKET + index,
        })
    }

    pub fn of(token: Token) -> Self {
        match token.0 {
            WAKER => Source::Waker,
            SIGNALS => Source::Signals,
            other if other < FIRST_SOCKET => Source::Listener(other - FIRST_LISTENER),
            other => Source::Socket(other - FIRST_SOCKET),
        }
    }
}

const WAKER: usize = 0;
const SIGNALS: usize = 1;
const FIRST_LISTENER: usize = 2;
const FIRST_SOCKET: usize = FIRST_LISTENER + LISTENERS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        for source in [
            Source::Waker,
            Source::Signals,
            Source::Listener(0),
            Source::Listener(LISTENERS_MAX - 1),
            Source::Socket(0),
            Source::Socket(1_000_000),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
