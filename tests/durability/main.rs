//! What was confirmed is there: the real process, killed, stopped and opened again; queues deeper than
//! memory; disks that are full, taken or not ours.
//!
//! `LEVERET_ROUNDS` says how often the process is killed (default 150, over all tests), `LEVERET_SEED`
//! repeats one run, `LEVERET_HISTORIES` says for how many rounds histories are checked (default 1). A failure
//! prints the seed; the moments at which a process dies are not repeatable, so a failure may take more than
//! one run to come back.

#[path = "../support/mod.rs"]
mod support;

#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod random;

mod access;
mod backpressure;
mod bulk;
mod clean_stop;
mod dead_letters;
mod deduplication;
mod deep_queues;
mod deep_rules;
mod delayed_messages;
mod delivery_counts;
mod directory;
mod exchange_types;
mod full_disk;
mod groups;
mod histories;
mod killed;
mod ledger;
mod little_memory;
mod load;
mod paged_gets;
mod peer;
mod program;
mod stalled_disk;
mod stamp;
mod ttl_restart;
mod verify;
