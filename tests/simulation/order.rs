//! What administrators order in a run: policies come and go.

use leveret::broker::policy::PolicyKind;
use leveret::broker::{Core, VirtualHostKey};
use leveret::wire::amqp::{OwnedTable, TableBuilder};

use crate::Check;
use crate::commands::{EXCHANGES, QUEUES};
use crate::model::Model;
use crate::random::Random;
use crate::wares::{Focus, TIMEOUTS};

#[derive(Debug)]
pub struct Order {
    kind: PolicyKind,
    name: &'static str,
    /// None clears it.
    settings: Option<OwnedTable>,
}

impl Order {
    pub fn some(random: &mut Random, focus: Option<Focus>) -> Self {
        if focus == Some(Focus::Alternates) && random.percent(70) {
            return Order::alternate(random);
        }
        let (kind, names): (_, &[&str]) = match random.percent(25) {
            true => (PolicyKind::Operator, &["limits", "more-limits"]),
            false => (PolicyKind::User, &["a", "b", "c"]),
        };
        let name = *random.pick(names);
        let settings = random.percent(75).then(|| some_settings(random, kind));
        Order {
            kind,
            name,
            settings,
        }
    }

    /// Names an alternate exchange, or none any more.
    fn alternate(random: &mut Random) -> Self {
        let settings = random.percent(75).then(|| {
            let (exchange, ..) = *random.pick(&EXCHANGES);
            let mut definition = TableBuilder::new();
            definition.put(
                "alternate-exchange",
                *random.pick(&["fanout", "amq.fanout", exchange]),
            );
            let mut settings = TableBuilder::new();
            settings
                .put("pattern", *random.pick(&[".*", ".*", "o"]))
                .put("apply-to", "exchanges")
                .put_table("definition", &definition);
            settings.finish()
        });
        Order {
            kind: PolicyKind::User,
            name: *random.pick(&["a", "b"]),
            settings,
        }
    }

    pub fn give(&self, core: &mut Core, host: VirtualHostKey) -> Check {
        let name = self.name.as_bytes();
        match &self.settings {
            Some(settings) => core
                .set_policy(self.kind, host, name, settings.view())
                .map_err(|error| error.to_string()),
            None => {
                core.clear_policy(self.kind, host, name);
                Ok(())
            }
        }
    }

    pub fn tell(self, model: &mut Model) {
        match self.settings {
            Some(settings) => model.set_policy(self.kind, self.name, settings),
            None => model.clear_policy(self.kind, self.name),
        }
    }
}

fn some_settings(random: &mut Random, kind: PolicyKind) -> OwnedTable {
    let mut settings = TableBuilder::new();
    let definition = some_definition(random, kind);
    settings
        .put("pattern", *random.pick(&PATTERNS))
        .put_table("definition", &definition)
        .put("priority", *random.pick(&[0, 0, 1, 5]));
    if kind == PolicyKind::Operator {
        settings.put("apply-to", *random.pick(&["queues", "classic_queues"]));
    } else if random.percent(60) {
        settings.put("apply-to", *random.pick(&APPLY_TO));
    }
    settings.finish()
}

fn some_definition(random: &mut Random, kind: PolicyKind) -> TableBuilder {
    let mut definition = TableBuilder::new();
    // Nothing is not allowed.
    definition.put("max-length", *random.pick(&[0, 1, 3, 10, 1000, 1000]));
    if random.percent(10) {
        definition.put("message-ttl", *random.pick(&[0, 20, 200, 3000]));
    }
    if random.percent(10) {
        definition.put("max-length-bytes", *random.pick(&[0, 300, 3000]));
    }
    if random.percent(15) {
        definition.put("expires", *random.pick(&[50, 500, 3000]));
    }
    if random.percent(20) {
        definition.put("delivery-limit", *random.pick(&[-1, 0, 1, 3]));
    }
    if random.percent(30) {
        let overflows = ["drop-head", "reject-publish", "reject-publish-dlx"];
        definition.put("overflow", *random.pick(&overflows));
    }
    if kind == PolicyKind::Operator {
        return definition;
    }
    if random.percent(50) {
        let (exchange, ..) = *random.pick(&EXCHANGES);
        definition.put("dead-letter-exchange", *random.pick(&["", exchange]));
    }
    if random.percent(20) {
        let strategies = ["at-most-once", "at-least-once"];
        definition.put("dead-letter-strategy", *random.pick(&strategies));
    }
    if random.percent(10) {
        definition.put("consumer-timeout", *random.pick(&TIMEOUTS));
    }
    if random.percent(50) {
        definition.put("dead-letter-routing-key", *random.pick(&QUEUES));
    }
    if random.percent(30) {
        let (exchange, ..) = *random.pick(&EXCHANGES);
        definition.put("alternate-exchange", exchange);
    }
    if random.percent(15) {
        let kinds = ["all", "failed", "returned", "disabled"];
        definition
            .put("delayed-retry-type", *random.pick(&kinds))
            .put("delayed-retry-min", *random.pick(&[0, 10, 100]));
    }
    definition
}

/// As the model understands them.
const PATTERNS: [&str; 8] = [".*", "^q", "^q[01]$", "2", "^q3", "4$", "^x", "o"];

const APPLY_TO: [&str; 5] = [
    "all",
    "queues",
    "exchanges",
    "classic_queues",
    "quorum_queues",
];
