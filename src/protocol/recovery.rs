//! From what a start found in the data directory to the broker as it was.

use std::collections::BTreeMap;

use crate::broker::journal::{NoteKind, QueueId};
use crate::broker::queue::PackedIds;
use crate::broker::{RecoveredFailures, RecoveredKeys, RecoveredMessages};
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
        for note in &recovered.notes {
            if let Err(why) = self.core.recover_setting(note) {
                log::error!("could not set again, {why}: {note:?}");
            }
        }
        for definition in &recovered.definitions {
            if let Err(why) = self.core.recover_definition(definition) {
                log::error!("could not declare again, {why}: {definition:?}");
            }
        }
        self.core.begin_messages(recovered.next_message);
        for references in &recovered.references {
            let counts = references.counts();
            for block in references.blocks() {
                let counts = counts.iter().map(|count| u32::from(*count)).enumerate();
                self.core
                    .recover_block(block, counts.filter(|(_, count)| *count > 0));
            }
        }
        let attributes = recovered.attributes.iter();
        let queues = messages_of(recovered.queues, recovered.redelivered);
        let mut failures = RecoveredFailures::default();
        let mut keys = RecoveredKeys::default();
        for note in &recovered.notes {
            match (note.kind, &note.value) {
                (NoteKind::Failure, Some(value)) => failures.add(&note.key, value),
                (NoteKind::Deduplication, _) => self.core.recover_key(note, &mut keys),
                _ => {}
            }
        }
        self.core
            .recover_messages(queues, attributes, failures, keys);
        self.begin_store(recovered.next_queue);
    }
}

fn messages_of(
    queues: Vec<(QueueId, PackedIds)>,
    redelivered: Redelivered,
) -> Vec<RecoveredMessages> {
    let (is_any, exactly) = match redelivered {
        Redelivered::Any => (true, Vec::new()),
        Redelivered::Exactly(all) => (false, all),
    };
    let mut exactly: BTreeMap<_, _> = exactly.into_iter().collect();
    let queues = queues
        .into_iter()
        .map(|(queue, messages)| RecoveredMessages {
            queue,
            redelivered: exactly.remove(&queue).unwrap_or_default(),
            redelivered_up_to: messages.last().filter(|_| is_any),
            messages,
        });
    queues.collect()
}
