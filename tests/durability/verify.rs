//! What is in the queues of a broker that is back, held against the ledger.

use std::collections::BTreeMap;

use leveret::wire::amqp::{Properties, basic, queue};

use crate::ledger::{Acked, Found, Ledger};
use crate::load::MARKERS;
use crate::program::Program;
use crate::random::Random;
use crate::stamp::Stamp;
use crate::support::{RawClient, consume_from};

/// Reads all messages in these queues; what is wrong with them. So many of a hundred are acked
/// afterwards, and stored as that; the others go back.
pub fn verify<'a>(
    program: &Program,
    queues: impl Iterator<Item = &'a str>,
    ledger: &mut Ledger,
    ack_percent: usize,
    random: &mut Random,
) -> Vec<String> {
    let mut client = program.connect();
    let survey = survey(&mut client, queues);
    let mut faults = ledger.settle(&survey.found);
    faults.extend(survey.faults);
    for (queue, stamp, delivery_tag) in survey.tags {
        if random.percent(ack_percent) {
            client.ack(delivery_tag);
            ledger.copy(&queue, stamp).acked = Acked::Firmly;
        }
    }
    wait_until_stored(&mut client);
    client.close();
    faults
}

struct Survey {
    found: BTreeMap<String, Vec<Found>>,
    /// How to ack what was found.
    tags: Vec<(String, Stamp, u64)>,
    faults: Vec<String>,
}

/// Exactly as many messages as the counts of the queues promise.
fn survey<'a>(client: &mut RawClient, queues: impl Iterator<Item = &'a str>) -> Survey {
    let mut survey = Survey {
        found: BTreeMap::new(),
        tags: Vec::new(),
        faults: Vec::new(),
    };
    let mut counts = BTreeMap::new();
    for queue in queues {
        survey.found.insert(queue.to_owned(), Vec::new());
        counts.insert(queue, client.counts(queue).0 as usize);
    }
    for queue in counts.keys() {
        client.send(&basic::Consume {
            no_wait: true,
            ..consume_from(queue, queue)
        });
    }
    for _ in 0..counts.values().sum() {
        let delivery = client.expect_delivery();
        let queue = delivery.consumer_tag;
        match Stamp::read(&delivery.body, &delivery.properties) {
            Ok(stamp) => {
                let redelivered = delivery.redelivered;
                let found = survey.found.get_mut(&queue).unwrap();
                found.push(Found { stamp, redelivered });
                survey.tags.push((queue, stamp, delivery.delivery_tag));
            }
            Err(fault) => survey.faults.push(format!("{queue}: {fault}")),
        }
    }
    client.expect_nothing();
    for (queue, count) in counts {
        let found = survey.found[queue].len();
        if found != count {
            let fault = format!("{queue} delivers {found} messages and counts {count}");
            survey.faults.push(fault);
        }
    }
    survey
}

/// Waits until all that was asked of this connection is stored.
pub fn wait_until_stored(client: &mut RawClient) {
    client.confirm();
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    client.publish_with("", MARKERS, &properties, "marker");
    client.expect_confirm();
    client.call(queue::Purge {
        queue: MARKERS.as_bytes(),
        ..Default::default()
    });
}
