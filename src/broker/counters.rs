//! Plain counts, kept beside what they count; rates are for whoever asks twice.

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
}

/// Of one queue, since it was declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueCounters {
    pub published: u64,
    pub delivered: u64,
    pub acked: u64,
    pub requeued: u64,
}
