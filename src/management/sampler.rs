//! What is looked at though nobody asked, so that who asks later sees what has been: the broker as a whole, and
//! queues that have changed. It is for whoever drives the broker to say when; idle brokers need not be looked at,
//! since nothing changes in them.

use super::api::{overview, queues};
use super::call::PATIENCE;
use super::rates::Subject;
use super::{Management, locked};
use crate::broker::survey::SLOTS_PER_PAGE;
use crate::protocol::Now;
use crate::protocol::errand::Unanswered;

impl Management {
    /// Takes samples. The loop is asked for a bounded piece at a time.
    pub fn sample(&self, now: Now) {
        // A broker that has stopped has nothing more to show.
        let _ = self
            .sample_overview(now)
            .and_then(|()| self.sample_queues(now));
    }

    fn sample_overview(&self, now: Now) -> Result<(), Unanswered> {
        let values = overview::counts_of_all(&*self.broker)?;
        locked(&self.rates).watch(Subject::Overview(None), &values, now.unix_ms);
        Ok(())
    }

    fn sample_queues(&self, now: Now) -> Result<(), Unanswered> {
        let mut next = Some(0);
        while let Some(from) = next {
            let page = self.broker.run(PATIENCE, move |hub| {
                hub.core.changed_queues(from, SLOTS_PER_PAGE)
            })?;
            let mut rates = locked(&self.rates);
            for queue in page.items {
                let groups = queues::counts(queue.ready, queue.unacked, &queue.counters);
                let values: Vec<u64> = groups.into_iter().flat_map(|it| it.values).collect();
                rates.watch(Subject::Queue(queue.id), &values, now.unix_ms);
            }
            next = page.next;
        }
        Ok(())
    }
}
