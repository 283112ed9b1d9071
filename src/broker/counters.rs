//! Plain counts, kept beside what they count; rates are for whoever asks twice.

use super::dead_letter::Reason;

/// Of the whole broker, since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub published: u64,
    pub queues_declared: u64,
    pub queues_deleted: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub channels_opened: u64,
    pub channels_closed: u64,
    /// Lines of the log that were not published, because there were too many.
    pub log_lines_lost: u64,
}

/// Of one queue, since it was declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueCounters {
    pub published: u64,
    pub delivered: u64,
    pub acked: u64,
    pub requeued: u64,
    /// Messages that left unconsumed, whether there was somewhere for them to go or not.
    pub rejected: u64,
    pub expired: u64,
    pub dropped: u64,
    pub failed_too_often: u64,
}

impl QueueCounters {
    pub fn count_death(&mut self, reason: Reason) {
        *match reason {
            Reason::Rejected => &mut self.rejected,
            Reason::Expired => &mut self.expired,
            Reason::MaxLength => &mut self.dropped,
            Reason::DeliveryLimit => &mut self.failed_too_often,
        } += 1;
    }
}
