//! RabbitMQ's resources under `/api`, a file for each group of paths. Each is asked in turn whether a path
//! is its own; it answers `None` if not.

mod bindings;
mod browse;
mod channels;
mod connections;
mod consumers;
mod definitions;
mod exchanges;
mod health;
mod leveret;
mod messages;
mod nodes;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod queues;
mod streams;
mod topology;
pub(super) mod users;
pub(super) mod virtual_hosts;
mod whoami;

use super::call::Call;
use super::{Answer, Refusal};

/// Answers a request for `/api` and what is behind it.
pub fn answer(call: &Call<'_>, path: &[&str]) -> Answer {
    let groups = [
        whoami::route,
        users::route,
        permissions::route,
        virtual_hosts::route,
        policies::route,
        parameters::route,
        topology::route,
        messages::route,
        browse::route,
        definitions::route,
        overview::route,
        nodes::route,
        connections::route,
        channels::route,
        consumers::route,
        exchanges::route,
        queues::route,
        bindings::route,
        health::route,
        streams::route,
        leveret::route,
    ];
    let mut answers = groups.iter().filter_map(|route| route(call, path));
    answers.next().unwrap_or(Err(Refusal::NotFound))
}
