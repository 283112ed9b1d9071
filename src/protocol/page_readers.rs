//! Blocks of messages that were paged out, for other threads that only look: they get what the store has
//! read, and nothing comes back into memory for them.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Hub;

/// The messages of a block as the store has them, read by
/// [`StoredMessages`](crate::broker::journal::StoredMessages).
#[derive(Clone, Debug)]
pub struct Page {
    pub block: u64,
    pub encoded: Arc<[u8]>,
}

/// Who waits for which block. As many at most as there are threads that look, for a few blocks each.
#[derive(Default)]
pub(super) struct PageReaders(Vec<(u64, Sender<Page>)>);

impl Hub {
    /// Has blocks read that were paged out; one page will come for each.
    pub fn read_pages(&mut self, blocks: &[u64]) -> Receiver<Page> {
        let (sender, pages) = bounded(blocks.len());
        for &block in blocks {
            let is_awaited = self.page_readers.0.iter().any(|(it, _)| *it == block);
            if !is_awaited {
                self.core.read_page(block);
            }
            self.page_readers.0.push((block, sender.clone()));
        }
        pages
    }

    /// A block was read.
    pub(super) fn show_page(&mut self, block: u64, encoded: &[u8]) {
        if !self.page_readers.0.iter().any(|(it, _)| *it == block) {
            return;
        }
        let encoded = Arc::from(encoded);
        let (awaited, others) = std::mem::take(&mut self.page_readers.0)
            .into_iter()
            .partition(|(it, _)| *it == block);
        self.page_readers.0 = others;
        let awaited: Vec<(u64, Sender<Page>)> = awaited;
        for (_, reader) in awaited {
            // There is room for it, or nobody reads any more.
            drop(reader.try_send(Page {
                block,
                encoded: Arc::clone(&encoded),
            }));
        }
    }
}
