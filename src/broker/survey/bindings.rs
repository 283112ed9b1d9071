//! Bindings, with those of the default exchange, which every queue has by its name.

use super::{Page, shown};
use crate::broker::topology::BindingSet;
use crate::broker::topology::binding::{Binding, Destination};
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Error};
use crate::wire::amqp::field_table::OwnedTable;

/// A binding, as management shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingSurvey {
    pub virtual_host: String,
    /// Empty for the default exchange.
    pub source: String,
    pub destination: String,
    pub kind: BindingKind,
    pub routing_key: String,
    /// Sorted by name.
    pub arguments: OwnedTable,
}

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingKind {
    Queue,
    Exchange,
}

/// Where a walk over all bindings goes on: those of the default exchange come last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindingPlace {
    /// A slot of an exchange, and behind them all of a queue.
    slot: usize,
    /// Bindings of that exchange that were seen.
    seen: usize,
}

impl Core {
    /// Bindings of virtual hosts that are wanted, by name. At most `max` of them, over at most `max`
    /// slots.
    pub fn survey_bindings(
        &self,
        from: BindingPlace,
        max: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Page<BindingSurvey, BindingPlace> {
        let mut items = Vec::new();
        let mut at = from;
        for _ in 0..max {
            let left = max - items.len();
            if left == 0 || !self.survey_bindings_at(&mut at, left, wanted, &mut items) {
                break;
            }
        }
        let end = self.exchanges.slot_count() + self.traffic.queues.slot_count();
        Page {
            items,
            next: (at.slot < end).then_some(at),
        }
    }

    /// Looks at one slot, or a part of what is there, and moves on. False at the end.
    fn survey_bindings_at(
        &self,
        at: &mut BindingPlace,
        max: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
        items: &mut Vec<BindingSurvey>,
    ) -> bool {
        let exchanges = self.exchanges.slot_count();
        let is_wanted = |host| wanted(&self.virtual_hosts[host].name);
        if at.slot >= exchanges {
            let number = at.slot - exchanges;
            if number >= self.traffic.queues.slot_count() {
                return false;
            }
            if let Some(key) = self.traffic.queues.key_at(number)
                && is_wanted(self.traffic.queues[key].virtual_host)
            {
                items.extend(self.default_binding(Destination::Queue(key)));
            }
        } else if let Some(key) = self.exchanges.key_at(at.slot)
            && is_wanted(self.exchanges[key].virtual_host)
        {
            let outgoing = &self.exchanges[key].outgoing;
            let before = items.len();
            let some = outgoing.iter().skip(at.seen).take(max);
            items.extend(some.filter_map(|binding| self.survey_of_binding(binding)));
            at.seen += max;
            if at.seen < outgoing.len() {
                return items.len() < before + max;
            }
        }
        *at = BindingPlace {
            slot: at.slot + 1,
            seen: 0,
        };
        true
    }

    /// Those that lead to a queue, some at a time.
    ///
    /// # Errors
    /// There is no queue of that name.
    pub fn survey_queue_bindings(
        &self,
        host: VirtualHostKey,
        name: &[u8],
        from: usize,
        max: usize,
    ) -> Result<Page<BindingSurvey>, Error> {
        let key = self.shown_queue(host, name)?;
        let mut page = self.piece(&self.traffic.queues[key].bindings, from, max);
        if from == 0 {
            page.items
                .extend(self.default_binding(Destination::Queue(key)));
        }
        Ok(page)
    }

    /// Those that lead from an exchange (`outgoing`) or to it, some at a time. Those of the default
    /// exchange are among [`Core::survey_bindings`] only.
    ///
    /// # Errors
    /// There is no exchange of that name.
    pub fn survey_exchange_bindings(
        &self,
        host: VirtualHostKey,
        name: &[u8],
        outgoing: bool,
        from: usize,
        max: usize,
    ) -> Result<Page<BindingSurvey>, Error> {
        let exchange = &self.exchanges[self.exchange(host, name)?];
        let set = if outgoing {
            &exchange.outgoing
        } else {
            &exchange.incoming
        };
        Ok(self.piece(set, from, max))
    }

    fn piece(&self, set: &BindingSet, from: usize, max: usize) -> Page<BindingSurvey> {
        let some = set.iter().skip(from).take(max);
        let end = from.saturating_add(max);
        Page {
            items: some
                .filter_map(|binding| self.survey_of_binding(binding))
                .collect(),
            next: (end < set.len()).then_some(end),
        }
    }

    fn survey_of_binding(&self, binding: &Binding) -> Option<BindingSurvey> {
        let source = self.exchanges.get(binding.source)?;
        let (kind, destination) = self.described(binding.destination)?;
        Some(BindingSurvey {
            virtual_host: shown(&self.virtual_hosts[source.virtual_host].name),
            source: shown(&source.name),
            destination,
            kind,
            routing_key: shown(&binding.routing_key),
            arguments: binding.arguments.clone(),
        })
    }

    fn default_binding(&self, destination: Destination) -> Option<BindingSurvey> {
        let Destination::Queue(key) = destination else {
            return None;
        };
        let queue = &self.traffic.queues[key];
        let (kind, name) = self.described(destination)?;
        Some(BindingSurvey {
            virtual_host: shown(&self.virtual_hosts[queue.virtual_host].name),
            source: String::new(),
            routing_key: name.clone(),
            destination: name,
            kind,
            arguments: OwnedTable::default(),
        })
    }

    /// `None` for what does not show: an exchange's own queue.
    fn described(&self, destination: Destination) -> Option<(BindingKind, String)> {
        Some(match destination {
            Destination::Queue(key) => {
                let queue = self.traffic.queues.get(key)?;
                if queue.is_delay_queue() {
                    return None;
                }
                (BindingKind::Queue, shown(&queue.name))
            }
            Destination::Exchange(key) => {
                let exchange = self.exchanges.get(key)?;
                (BindingKind::Exchange, shown(&exchange.name))
            }
        })
    }
}
