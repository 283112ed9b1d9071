//! What these scenarios need of a connection, and no other does.

use std::fs;

use crate::client::connection::{Connection, Endpoint, Life};
use crate::client::failure::Result;
use crate::client::message::{Message, Publish};
use crate::client::wire::{self, CHANNEL, Method};

/// Opens channels 1 to `count`, each with publisher confirms.
pub fn open_publishing(endpoint: &Endpoint, count: u16) -> Result<Connection> {
    let mut connection = Connection::open(endpoint)?;
    for channel in 1..=count {
        if channel != CHANNEL {
            let open = Method::new(wire::CHANNEL_OPEN).short("");
            connection.call(open.frame(channel), wire::CHANNEL_OPEN_OK)?;
        }
        let select = Method::new(wire::CONFIRM_SELECT).u8(0);
        connection.call(select.frame(channel), wire::CONFIRM_SELECT_OK)?;
    }
    Ok(connection)
}

/// A queue that outlives the connection, and the broker.
pub fn declare_durable_queue(connection: &mut Connection, name: &str) -> Result<()> {
    connection.declare_queue(name, Life::Durable)
}

pub fn delete_queue(connection: &mut Connection, name: &str) -> Result<()> {
    let delete = Method::new(wire::QUEUE_DELETE).u16(0).short(name).u8(0);
    connection.call(delete.frame(CHANNEL), wire::QUEUE_DELETE_OK)?;
    Ok(())
}

/// A persistent message for a queue, on a channel of its own.
pub fn persistent(channel: u16, queue: &str, body_size: usize) -> Message {
    let publish = Publish {
        channel,
        routing_key: queue,
        persistent: true,
        body_size,
        ..Publish::default()
    };
    publish.message()
}

/// The most resident memory that a process ever had, in bytes.
pub fn resident_peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
