//! RabbitMQ's resource alarms: while memory or disk is low, publishers are not read from; those who
//! announced that they understand it read `connection.blocked` on their first publish. Consumers notice
//! nothing.
//!
//! ```text
//! memory is low   the process takes more than vm_memory_high_watermark
//!                 messages in memory take more than message_memory.max, or than that watermark
//! disk is low     the data directory's disk has less free than disk_free_limit
//!                 the store found no room
//! ```
//!
//! What the process takes and the disk has is measured elsewhere and told to [`Hub::on_measured`]. That
//! is late by nature; what messages take is known at once and holds publishers until then.

use std::cell::Cell;

use super::Hub;
use super::amqp::Exception;
use crate::config::Watermark;
use crate::wire::amqp::ReplyCode;

/// What was measured; `None` for what was not, or cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of memory that the process takes (resident).
    pub memory_used: Option<u64>,
    /// Bytes that it could take: what the machine has or the control group allows.
    pub memory_total: Option<u64>,
    /// Bytes that are free on the data directory's disk.
    pub disk_free: Option<u64>,
}

/// Memory and disk, as last measured, and the alarms about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    pub measured: Measured,
    pub memory_watermark: Watermark,
    /// The watermark in bytes; `None` if it is a share of something unknown.
    pub memory_limit: Option<u64>,
    /// RabbitMQ: `{resource_limit, memory, Node}`.
    pub memory_alarm: bool,
    pub disk_free_watermark: Watermark,
    /// The same in bytes; `None` as above, and in a broker without a data directory.
    pub disk_free_limit: Option<u64>,
    /// RabbitMQ: `{resource_limit, disk, Node}`.
    pub disk_alarm: bool,
}

/// What the hub knows of its resources.
#[derive(Default)]
pub(super) struct Alarms {
    measured: Measured,
    /// The process takes too much memory.
    process_over: bool,
    /// Messages alone take too much memory.
    messages_over: bool,
    /// Too little is free on the disk.
    disk_low: bool,
    /// The store cannot get more room on its disk.
    store_full: bool,
    /// The process is near its `memory_limit`.
    is_full: bool,
    /// What was measured should be measured again soon.
    wants_measuring: Cell<bool>,
}

impl Alarms {
    #[inline]
    pub fn any(&self) -> bool {
        self.memory() || self.disk()
    }

    fn memory(&self) -> bool {
        self.process_over || self.messages_over
    }

    fn disk(&self) -> bool {
        self.disk_low || self.store_full
    }
}

impl Hub {
    /// Memory and disk as last measured, their limits, and the alarms in force. Asking has them
    /// measured again, so that who asks now and then has recent figures also from an idle broker.
    pub fn resources(&self) -> Resources {
        self.alarms.wants_measuring.set(true);
        Resources {
            measured: self.alarms.measured,
            memory_watermark: self.config.watermarks.memory,
            memory_limit: self.memory_limit(),
            memory_alarm: self.alarms.memory(),
            disk_free_watermark: self.config.watermarks.disk_free,
            disk_free_limit: self.disk_free_limit(),
            disk_alarm: self.alarms.disk(),
        }
    }

    /// Takes in what was measured, and raises and ends alarms by it. What is `None` stays as it was.
    pub fn on_measured(&mut self, measured: Measured) {
        let last = &mut self.alarms.measured;
        last.memory_used = measured.memory_used.or(last.memory_used);
        last.memory_total = measured.memory_total.or(last.memory_total);
        last.disk_free = measured.disk_free.or(last.disk_free);
        self.review_alarms();
    }

    /// Whether somebody wants what is measured to be newer than it is; once.
    pub fn take_measuring_wish(&self) -> bool {
        self.alarms.wants_measuring.take()
    }

    /// Whether an alarm depends on what is measured next.
    pub fn awaits_measuring(&self) -> bool {
        self.alarms.process_over || self.alarms.disk_low
    }

    /// Bytes that the process may take until there is an alarm.
    pub fn memory_left(&self) -> Option<u64> {
        let used = self.alarms.measured.memory_used?;
        Some(self.memory_limit()?.saturating_sub(used))
    }

    /// Bytes that may be written to the disk until there is an alarm.
    pub fn disk_left(&self) -> Option<u64> {
        let free = self.alarms.measured.disk_free?;
        Some(free.saturating_sub(self.disk_free_limit()?))
    }

    /// Blocks publishers for this reason, or no longer (RabbitMQ: resource alarms).
    pub fn set_blocked(&mut self, reason: Option<&str>) {
        self.outside_alarm = reason.map(str::to_owned);
        self.wake_unblocked();
    }

    /// Why publishers are to be blocked, as `connection.blocked` says it.
    pub fn alarm(&self) -> Option<&str> {
        let own = match (self.alarms.disk(), self.alarms.memory()) {
            // The order of RabbitMQ 3.10, whichever came first.
            (true, true) => Some("low on disk & memory"),
            (true, false) => Some("low on disk"),
            (false, true) => Some("low on memory"),
            (false, false) => None,
        };
        self.outside_alarm.as_deref().or(own)
    }

    /// What is low, whoever says so: `memory`, `disk`, both or neither (RabbitMQ: alarms in effect).
    pub fn alarms_in_force(&self) -> Vec<&'static str> {
        let outside = self.outside_alarm.as_deref().unwrap_or_default();
        let own = [
            ("memory", self.alarms.memory()),
            ("disk", self.alarms.disk()),
        ];
        let low = own
            .into_iter()
            .filter(|(resource, is_low)| *is_low || outside.contains(resource));
        low.map(|(resource, _)| resource).collect()
    }

    /// The store ran out of disk, or has room again.
    pub fn set_disk_alarm(&mut self, raised: bool) {
        self.change_alarms(|alarms| alarms.store_full = raised);
    }

    /// RabbitMQ: `rabbitmqctl set_vm_memory_high_watermark`. Holds until the configuration is read again.
    pub fn set_memory_watermark(&mut self, watermark: Watermark) {
        self.config.watermarks.memory = watermark;
        self.log_memory_limit();
        self.review_alarms();
        self.alarms.wants_measuring.set(true);
    }

    /// RabbitMQ: `rabbitmqctl set_disk_free_limit`. Holds until the configuration is read again.
    pub fn set_disk_free_limit(&mut self, watermark: Watermark) {
        self.config.watermarks.disk_free = watermark;
        self.log_disk_free_limit();
        self.review_alarms();
        self.alarms.wants_measuring.set(true);
    }

    /// Into the log, in RabbitMQ's words.
    pub fn log_limits(&self) {
        self.log_memory_limit();
        self.log_disk_free_limit();
    }

    /// The resident memory that the process may have, in bytes; `None` if it is a share of something
    /// unknown.
    pub fn memory_limit(&self) -> Option<u64> {
        let limit = in_bytes(self.config.watermarks.memory, self.memory_total());
        match self.config.limits.memory_bytes_max {
            // However high it is set: what is not measured yet needs some room, too.
            Some(ceiling) => Some(limit.unwrap_or(u64::MAX).min(ceiling / 10 * 7)),
            None => limit,
        }
    }

    /// Bytes of resident memory that there are for this process.
    fn memory_total(&self) -> Option<u64> {
        let ceiling = self.config.limits.memory_bytes_max;
        let measured = self.alarms.measured.memory_total;
        ceiling.into_iter().chain(measured).min()
    }

    /// Whether the process is so near its `memory_limit` that nothing may be added to it.
    pub fn is_memory_full(&self) -> bool {
        self.alarms.is_full
    }

    fn review_fullness(&mut self) {
        let used = self.alarms.measured.memory_used;
        let ceiling = self.config.limits.memory_bytes_max;
        let sixteenths = match self.alarms.is_full {
            true => FULL_SIXTEENTHS - 1,
            false => FULL_SIXTEENTHS,
        };
        let is_full = used
            .zip(ceiling)
            .is_some_and(|(used, ceiling)| used > ceiling / 16 * sixteenths);
        if is_full != self.alarms.is_full {
            let what = if is_full { "used up" } else { "free again" };
            log::warn!(
                "memory_limit: memory is {what}, {} bytes are taken",
                used.unwrap_or(0)
            );
        }
        self.alarms.is_full = is_full;
        self.core.limit_unacked(match is_full {
            true => UNACKED_MAX,
            false => u32::MAX,
        });
    }

    /// Whoever wants to add something that is not a message.
    ///
    /// # Errors
    /// There is no memory for it (506).
    pub(super) fn check_memory(&self) -> Result<(), Exception> {
        match self.is_memory_full() {
            false => Ok(()),
            true => Err(Exception::new(
                ReplyCode::ResourceError,
                "the memory that the broker may take is used up",
            )),
        }
    }

    /// The largest message that may be published now.
    #[inline]
    pub(super) fn message_size_max(&self) -> u64 {
        let configured = self.config.limits.message_size_max_bytes;
        configured.min(self.message_share)
    }

    /// What depends on how much memory there is.
    pub(super) fn share_out_memory(&mut self) {
        let share = self.memory_limit().unwrap_or(u64::MAX) / 4;
        self.message_share = share.max(BOUND_MIN as u64);
        let one_way = self.bounded(usize::MAX, 8);
        self.outboxes.set_bytes_for_all(one_way);
    }

    /// A bound of this many bytes as it is where memory is little: a `part` of all of it. So that what
    /// the bounds allow stays under the watermark, and that is reached by what they do not know.
    pub fn bounded(&self, bytes: usize, part: u64) -> usize {
        let of_all = self
            .memory_limit()
            .map_or(usize::MAX, |limit| in_memory(limit / part));
        bytes.min(of_all.max(BOUND_MIN))
    }

    /// Raises the alarm when messages in memory take too much, and ends it under nine tenths of that.
    pub(super) fn watch_memory(&mut self) {
        let held = self.core.message_bytes();
        let limit = self.memory_limit().map_or(usize::MAX, in_memory);
        let max = self.config.limits.messages_bytes_max.min(limit);
        let over = if self.alarms.messages_over {
            held > max / 10 * 9
        } else {
            held > max
        };
        if over != self.alarms.messages_over {
            let is = if over { "set" } else { "clear" };
            log::info!("message_memory.max {is}. Memory used by messages:{held} allowed:{max}");
            self.change_alarms(|alarms| alarms.messages_over = over);
        }
    }

    fn disk_free_limit(&self) -> Option<u64> {
        self.config.data_dir.as_ref()?;
        in_bytes(self.config.watermarks.disk_free, self.memory_total())
    }

    /// What was measured, or what it is held against, has changed.
    pub(super) fn review_alarms(&mut self) {
        self.share_out_memory();
        self.review_fullness();
        let Measured {
            memory_used,
            disk_free,
            ..
        } = self.alarms.measured;
        if let (Some(used), Some(limit)) = (memory_used, self.memory_limit()) {
            let over = used > limit;
            if over != self.alarms.process_over {
                let is = if over { "set" } else { "clear" };
                log::info!("vm_memory_high_watermark {is}. Memory used:{used} allowed:{limit}");
                self.change_alarms(|alarms| alarms.process_over = over);
            }
        }
        if let (Some(free), Some(limit)) = (disk_free, self.disk_free_limit()) {
            let low = free < limit;
            if low != self.alarms.disk_low {
                let is = if low { "insufficient" } else { "sufficient" };
                log::info!("Free disk space is {is}. Free bytes: {free}. Limit: {limit}");
                self.change_alarms(|alarms| alarms.disk_low = low);
            }
        }
    }

    /// Changes the reasons; what follows from that is logged, and who waited goes on.
    fn change_alarms(&mut self, change: impl FnOnce(&mut Alarms)) {
        let before = [self.alarms.memory(), self.alarms.disk()];
        change(&mut self.alarms);
        let after = [self.alarms.memory(), self.alarms.disk()];
        let node = self.config.server.node_name.clone();
        for (resource, (before, after)) in ["memory", "disk"]
            .into_iter()
            .zip(before.into_iter().zip(after))
        {
            if before != after {
                self.core.tell_alarm(resource, after);
            }
            match (before, after) {
                (false, true) => {
                    log::warn!("{resource} resource limit alarm set on node {node}.");
                    log::warn!("{STARS}");
                    log::warn!("*** Publishers will be blocked until this alarm clears ***");
                    log::warn!("{STARS}");
                }
                (true, false) => {
                    log::warn!("{resource} resource limit alarm cleared on node {node}");
                }
                _ => {}
            }
        }
        self.wake_unblocked();
    }

    fn log_memory_limit(&self) {
        match (self.memory_limit(), self.memory_total()) {
            (Some(limit), Some(total)) => log::info!(
                "Memory high watermark set to {} MiB ({limit} bytes) of {} MiB ({total} bytes) total",
                limit >> 20,
                total >> 20
            ),
            (Some(limit), None) => log::info!(
                "Memory high watermark set to {} MiB ({limit} bytes)",
                limit >> 20
            ),
            (None, _) => {
                log::warn!("no memory high watermark: the memory that there is is unknown")
            }
        }
    }

    fn log_disk_free_limit(&self) {
        if let Some(limit) = self.disk_free_limit() {
            log::info!("Disk free limit set to {}MB", limit / 1_000_000);
        }
    }
}

/// Of `memory_limit`; the rest is for what is under way.
const FULL_SIXTEENTHS: u64 = 12;

/// What a channel may have unacked when memory is full.
const UNACKED_MAX: u32 = 100;

/// Smaller bounds would cost more than they save.
const BOUND_MIN: usize = 1 << 20;

const STARS: &str = "**********************************************************";

fn in_bytes(watermark: Watermark, memory_total: Option<u64>) -> Option<u64> {
    match watermark {
        Watermark::Absolute(bytes) => Some(bytes),
        Watermark::Relative(_) => Some(watermark.bytes(memory_total?)),
    }
}

fn in_memory(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hub(memory: Watermark, disk_free: Watermark) -> Hub {
        let mut config = Config {
            data_dir: Some("somewhere".into()),
            ..Config::default()
        };
        config.watermarks.memory = memory;
        config.watermarks.disk_free = disk_free;
        Hub::new(config, Box::new(|| [7; 16]))
    }

    fn used(bytes: u64) -> Measured {
        Measured {
            memory_used: Some(bytes),
            ..Measured::default()
        }
    }

    fn free(bytes: u64) -> Measured {
        Measured {
            disk_free: Some(bytes),
            ..Measured::default()
        }
    }

    #[test]
    fn alarms_follow_what_is_measured_and_name_what_is_low() {
        let mut hub = hub(Watermark::Absolute(1000), Watermark::Absolute(50));
        assert_eq!(hub.alarm(), None);
        hub.on_measured(used(1000));
        hub.on_measured(free(50));
        assert_eq!((hub.alarm(), hub.awaits_measuring()), (None, false));
        hub.on_measured(used(1001));
        assert_eq!(hub.alarm(), Some("low on memory"));
        hub.on_measured(free(49));
        assert_eq!(hub.alarm(), Some("low on disk & memory"));
        hub.on_measured(used(1000));
        assert_eq!(hub.alarm(), Some("low on disk"));
        hub.set_disk_alarm(true);
        hub.on_measured(free(50));
        assert_eq!(
            (hub.alarm(), hub.awaits_measuring()),
            (Some("low on disk"), false)
        );
        hub.set_disk_alarm(false);
        assert_eq!(hub.alarm(), None);
    }

    #[test]
    fn a_share_counts_when_the_whole_is_known() {
        let mut hub = hub(Watermark::Relative(0.5), Watermark::Relative(2.0));
        hub.on_measured(used(u64::MAX));
        hub.on_measured(free(0));
        assert_eq!(hub.alarm(), None);
        let resources = hub.resources();
        assert_eq!(
            (resources.memory_limit, resources.disk_free_limit),
            (None, None)
        );
        hub.on_measured(Measured {
            memory_total: Some(1 << 30),
            ..Measured::default()
        });
        assert_eq!(hub.alarm(), Some("low on disk & memory"));
        let resources = hub.resources();
        assert_eq!(resources.memory_limit, Some(1 << 29));
        assert_eq!(resources.disk_free_limit, Some(2 << 30));
        assert!(resources.memory_alarm && resources.disk_alarm);
    }

    #[test]
    fn limits_change_at_run_time() {
        let mut hub = hub(Watermark::Absolute(1000), Watermark::Absolute(50));
        hub.on_measured(used(500));
        hub.on_measured(free(500));
        assert_eq!((hub.memory_left(), hub.disk_left()), (Some(500), Some(450)));
        assert!(!hub.take_measuring_wish());
        hub.set_memory_watermark(Watermark::Absolute(499));
        assert_eq!(hub.alarm(), Some("low on memory"));
        assert!(hub.take_measuring_wish() && !hub.take_measuring_wish());
        hub.set_disk_free_limit(Watermark::Absolute(501));
        assert_eq!(hub.alarm(), Some("low on disk & memory"));
        assert_eq!((hub.memory_left(), hub.disk_left()), (Some(0), Some(0)));
        let wanted = Config::default();
        hub.on_measured(Measured {
            memory_total: Some(1 << 40),
            disk_free: Some(1 << 40),
            ..Measured::default()
        });
        hub.reconfigure(&wanted);
        assert_eq!(hub.alarm(), None);
    }

    #[test]
    fn bounds_are_a_part_of_little_memory() {
        let mut hub = hub(Watermark::Absolute(40 << 20), Watermark::Absolute(50));
        assert_eq!(hub.bounded(32 << 20, 4), 10 << 20);
        assert_eq!(hub.bounded(3 << 20, 4), 3 << 20);
        hub.set_memory_watermark(Watermark::Absolute(1));
        assert_eq!(hub.bounded(32 << 20, 4), BOUND_MIN);
        hub.set_memory_watermark(Watermark::Absolute(1 << 40));
        assert_eq!(hub.bounded(32 << 20, 4), 32 << 20);
    }

    #[test]
    fn a_broker_without_a_disk_has_no_disk_alarm() {
        let mut hub = Hub::new(Config::default(), Box::new(|| [7; 16]));
        hub.on_measured(free(0));
        assert_eq!(hub.alarm(), None);
        assert_eq!(hub.resources().disk_free_limit, None);
    }
}
