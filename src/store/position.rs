//! Places in a log, and the claim that all before one is stored.

use super::number;

/// A place in the log (or in the definitions, where the segment is the generation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub segment: u64,
    pub offset: u64,
}

impl Position {
    /// The payload of a commit: written only when everything before the position was synced. So a hole
    /// in front of it is damage, and one behind every such claim is the tear of a crash.
    pub fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.segment.to_le_bytes());
        out[8..].copy_from_slice(&self.offset.to_le_bytes());
        out
    }

    pub fn decode(mut payload: &[u8]) -> Option<Position> {
        Some(Position {
            segment: number::read_u64(&mut payload)?,
            offset: number::read_u64(&mut payload)?,
        })
    }
}
