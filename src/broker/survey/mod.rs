//! What there is, as management shows it: plain copies that can cross threads, taken in pieces.
//!
//! Whoever wants to see all of a kind asks for a [`Page`] after the other; each walks over a bounded
//! number of slots, so that the loop never waits long for who looks. What comes or goes between two
//! pages may be missed or seen twice; what is there all the while is seen. No message is looked at:
//! everything here is kept beside what it is about.
//!
//! Names that are no UTF-8 are shown with replacement characters.
//!
//! ```text
//! queues exchanges bindings connections channels consumers    a kind each
//! totals   sums for each virtual host
//! ```

mod bindings;
mod channels;
mod connections;
mod consumers;
mod exchanges;
mod queues;
mod totals;

pub use bindings::{BindingKind, BindingPlace, BindingSurvey};
pub use channels::ChannelSurvey;
pub use connections::ConnectionSurvey;
pub use consumers::{Activity, ConsumerSurvey};
pub use exchanges::ExchangeSurvey;
pub use queues::{QueueCounts, QueueSurvey};
pub use totals::VirtualHostTotals;

use super::policy::Applied;
use crate::slots::{Key, Slots};
use crate::wire::amqp::field_table::OwnedTable;

/// A piece of a list.
#[derive(Debug)]
pub struct Page<T, P = usize> {
    pub items: Vec<T>,
    /// Where to go on; `None` when everything was seen.
    pub next: Option<P>,
}

/// The policies that are in force for a queue or an exchange.
#[derive(Clone, Debug, Default)]
pub struct PolicySurvey {
    pub policy: Option<String>,
    pub operator_policy: Option<String>,
    /// Both together.
    pub definition: OwnedTable,
}

/// Slots that one piece walks over where its caller has no other wish: some 50 microseconds, which is what a message
/// may have to wait for it.
pub const SLOTS_PER_PAGE: usize = 100;

impl PolicySurvey {
    fn of(applied: &Applied) -> PolicySurvey {
        let definition = applied.definition();
        PolicySurvey {
            policy: applied.policy().map(|policy| shown(&policy.name)),
            operator_policy: applied.operator_policy().map(|policy| shown(&policy.name)),
            definition: definition.map_or_else(OwnedTable::default, |it| it.table().into()),
        }
    }
}

/// Looks at `max` slots from a place on.
fn walk<T, V>(
    slots: &Slots<T>,
    from: usize,
    max: usize,
    mut view: impl FnMut(Key<T>, &T) -> Option<V>,
) -> Page<V> {
    let count = slots.slot_count();
    let end = from.saturating_add(max).min(count);
    let keys = (from..end).filter_map(|at| slots.key_at(at));
    Page {
        items: keys.filter_map(|key| view(key, &slots[key])).collect(),
        next: (end < count).then_some(end),
    }
}

/// A name as text.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
