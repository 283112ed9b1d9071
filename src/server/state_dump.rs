//! The state of the broker in a few lines of the log, for whoever wonders what it is doing (SIGUSR1).

use crate::protocol::Hub;

/// Counts queues and exchanges, but walks over no message.
pub(super) fn log_state(hub: &mut Hub, sockets: usize, uptime_ms: u64) {
    let inventory = hub.core.inventory();
    let counters = hub.core.counters;
    log::info!("state: up for {} s, {sockets} sockets", uptime_ms / 1000);
    log::info!(
        "state: {} connections, {} channels, {} consumers",
        inventory.connections,
        inventory.channels,
        inventory.consumers
    );
    log::info!(
        "state: {} queues, {} exchanges, {} bindings",
        inventory.queues,
        inventory.exchanges,
        inventory.bindings
    );
    log::info!(
        "state: {} messages ready, {} unacked; {} held in memory, in {} bytes",
        inventory.messages_ready,
        inventory.messages_unacked,
        inventory.messages,
        hub.core.message_bytes()
    );
    log::info!(
        "state: since the start {} messages published, {} connections and {} channels opened",
        counters.published,
        counters.connections_opened,
        counters.channels_opened
    );
    match hub.store_progress() {
        Some((stored, last)) => log::info!("state: batch {stored} of {last} is stored"),
        None => log::info!("state: nothing is stored"),
    }
    let resources = hub.resources();
    log::info!(
        "state: memory {} of {}, disk free {}, at least {}",
        shown(resources.measured.memory_used),
        shown(resources.memory_limit),
        shown(resources.measured.disk_free),
        shown(resources.disk_free_limit)
    );
    match hub.alarm() {
        Some(reason) => log::info!("state: publishers are blocked: {reason}"),
        None => log::info!("state: publishers are not blocked"),
    }
}

fn shown(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"))
}
