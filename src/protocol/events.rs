//! Events on their way from the core to those who listen: other threads, and the exchange
//! `amq.rabbitmq.event` (RabbitMQ: `rabbitmq_event_exchange`).
//!
//! Once a turn what has happened is handed on. Nobody is waited for: a listener that has too many before it
//! loses the rest, and is told how many with the next that it gets.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Hub;
use crate::broker::Event;

/// An event as a listener gets it.
#[derive(Clone, Debug)]
pub struct HeardEvent {
    pub event: Arc<Event>,
    /// Events between this and the one before that the listener did not get.
    pub lost_before: u64,
}

/// One who is told.
pub(super) struct EventListener {
    events: Sender<HeardEvent>,
    lost: u64,
}

impl Hub {
    /// All events from now on, until the receiver is dropped.
    pub fn listen_to_events(&mut self) -> Receiver<HeardEvent> {
        let (events, receiver) = bounded(WAITING_EVENTS);
        self.event_listeners.push(EventListener { events, lost: 0 });
        self.core.set_event_listeners(true);
        receiver
    }

    /// How many listen, beside the exchange. One who has gone counts until the next event.
    pub fn event_listeners(&self) -> usize {
        self.event_listeners.len()
    }

    /// Publishes events to the exchange from now on, or not, as the configuration says.
    pub fn follow_event_exchange(&mut self) {
        let wanted = &self.config.event_exchange;
        let default = &self.config.access.default_virtual_host;
        let virtual_host = wanted.virtual_host.as_ref().unwrap_or(default);
        let name = wanted.is_on.then_some(virtual_host.as_bytes());
        if let Err(error) = self.core.publish_events_in(name) {
            log::error!("event_exchange: {error}");
        }
    }

    /// Once a turn.
    #[inline]
    pub(super) fn hand_on_events(&mut self) {
        if self.core.has_events() {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&mut self) {
        let events = self.core.take_events();
        if self.core.publishes_events() {
            for event in &events {
                self.core.publish_event(event, &mut self.outboxes);
            }
            self.after_command();
        }
        if self.event_listeners.is_empty() {
            return;
        }
        for event in events {
            let event = Arc::new(event);
            let lost = &mut self.core.counters.events_lost;
            self.event_listeners
                .retain_mut(|listener| listener.hand_on(&event, lost));
        }
        let is_heard = !self.event_listeners.is_empty();
        self.core.set_event_listeners(is_heard);
    }
}

impl EventListener {
    /// Whether somebody is still there.
    fn hand_on(&mut self, event: &Arc<Event>, lost: &mut u64) -> bool {
        let heard = HeardEvent {
            event: Arc::clone(event),
            lost_before: self.lost,
        };
        match self.events.try_send(heard) {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                *lost += 1;
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
        true
    }
}

/// Events that wait for a listener; more are lost. An event has some hundred bytes, at most a few thousand,
/// and is there once for all of them.
const WAITING_EVENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hub() -> Hub {
        Hub::new(Config::default(), Box::new(|| [0; 16]))
    }

    fn happen(hub: &mut Hub, count: usize) {
        for n in 0..count {
            let name = format!("user-{n}");
            hub.core.tell_alarm(&name, true);
        }
        hub.settle();
    }

    #[test]
    fn a_listener_gets_what_happens_until_it_leaves() {
        let mut hub = hub();
        happen(&mut hub, 1);
        assert_eq!(hub.core.counters.events, 0);
        let heard = hub.listen_to_events();
        happen(&mut hub, 2);
        let names: Vec<_> = heard.try_iter().map(|heard| heard.event.name).collect();
        assert_eq!(names, ["alarm.set"; 2]);
        drop(heard);
        happen(&mut hub, 1);
        assert!(!hub.core.tells_events());
        assert_eq!(hub.event_listeners(), 0);
        happen(&mut hub, 1);
        assert_eq!(hub.core.counters.events, 3);
    }

    #[test]
    fn one_that_does_not_keep_up_is_told_how_many_it_lost() {
        let mut hub = hub();
        let heard = hub.listen_to_events();
        happen(&mut hub, WAITING_EVENTS);
        happen(&mut hub, 7);
        assert_eq!(hub.core.counters.events_lost, 7);
        assert_eq!(heard.try_iter().count(), WAITING_EVENTS);
        happen(&mut hub, 1);
        assert_eq!(heard.try_recv().unwrap().lost_before, 7);
    }
}
