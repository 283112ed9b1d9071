//! From what a start found in the data directory to the broker as it was.

use crate::broker::journal::QueueId;
use crate::broker::queue::PackedIds;
use crate::protocol::Hub;
use crate::store::{Recovered, Redelivered};

impl Hub {
    /// Declares everything again and gives the queues their messages, which stay with the store until
    /// somebody wants them. From then on what must survive is given to the store.
    pub fn recover(&mut self, recovered: Recovered) {
        for damage in &recovered.damage {
            if damage.what.is_loss() {
                log::error!("{damage}");
            } else {
                log::warn!("{damage}");
            }
        }
        for definition in &recovered.definitions {
            if let Err(why) = self.core.recover_definition(definition) {
                log::error!("could not declare again, {why}: {definition:?}");
            }
        }
        for references in &recovered.references {
            let counts = references.counts();
            for block in references.blocks() {
                let counts = counts.iter().map(|count| u32::from(*count)).enumerate();
                self.core
                    .recover_block(block, counts.filter(|(_, count)| *count > 0));
            }
        }
        self.recover_queues(recovered.queues, &recovered.redelivered);
        self.begin_store(recovered.next_message, recovered.next_queue);
    }

    fn recover_queues(&mut self, queues: Vec<(QueueId, PackedIds)>, redelivered: &Redelivered) {
        let none = PackedIds::default();
        for (queue, messages) in queues {
            let (flagged, up_to) = match redelivered {
                Redelivered::Any => (&none, messages.last()),
                Redelivered::Exactly(all) => {
                    let found = all.iter().find(|(id, _)| *id == queue);
                    (found.map_or(&none, |(_, ids)| ids), None)
                }
            };
            self.core.recover_messages(queue, messages, flagged, up_to);
        }
    }
}
