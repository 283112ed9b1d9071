//! Policies and parameters over a restart: what was noted is in force again, what was cleared is not.

use std::path::Path;
use std::time::{Duration, Instant};

use leveret::broker::policy::PolicyKind;
use leveret::broker::topology::queue::QueueDeclaration;
use leveret::broker::{Core, VirtualHostKey};
use leveret::slots::Key;
use leveret::store::{Batch, CleanStop, Opened, Options, Report, Store};
use leveret::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};

/// A core over a store on a real directory.
struct Broker {
    core: Core,
    host: VirtualHostKey,
    store: Store,
    batches: u64,
}

impl Broker {
    fn start(directory: &Path) -> Broker {
        let (opened, recovered) = Opened::open(directory, Options::default()).unwrap();
        assert!(recovered.damage.is_empty());
        let mut core = Core::new();
        for note in &recovered.notes {
            core.recover_setting(note).unwrap();
        }
        for definition in &recovered.definitions {
            core.recover_definition(definition).unwrap();
        }
        core.begin_messages(recovered.next_message);
        core.begin_journal(recovered.next_queue);
        assert!(!core.has_journal(), "nothing is written down again");
        Broker {
            host: core.virtual_host(b"/").unwrap(),
            core,
            store: Store::start(opened, Box::new(|| {})),
            batches: 0,
        }
    }

    /// Until all that must survive is stored.
    fn sync(&mut self) {
        self.batches += 1;
        let submitted = self.store.submit(Batch {
            number: self.batches,
            journal: self.core.take_journal(),
            ..Batch::default()
        });
        assert!(submitted.is_ok());
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            match self.store.take_report() {
                Some(Report::StoredUpTo(number)) if number == self.batches => return,
                _ => assert!(Instant::now() < limit),
            }
            std::thread::yield_now();
        }
    }

    fn stop(mut self) {
        self.sync();
        self.store.stop(CleanStop::default()).unwrap();
    }

    fn set(&mut self, kind: PolicyKind, name: &str, pattern: &str, key: &str, value: i64) {
        let definition = table(&[(key, Value::Long(value))]);
        let settings = table(&[
            ("pattern", Value::string(pattern)),
            ("definition", Value::Table(definition.view())),
            ("priority", Value::Long(3)),
            ("apply-to", Value::string("queues")),
        ]);
        let name = name.as_bytes();
        let set = self.core.set_policy(kind, self.host, name, settings.view());
        set.unwrap();
        assert!(self.core.take_redefined(), "the door waits for the store");
    }

    fn declare(&mut self, name: &str) {
        self.core
            .declare_queue(&QueueDeclaration {
                virtual_host: self.host,
                connection: Key::NONE,
                name: name.as_bytes(),
                generated: false,
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: Table::EMPTY,
            })
            .unwrap();
    }

    /// The definition that is in force for a queue.
    fn definition(&self, name: &str) -> Option<OwnedTable> {
        let key = self.core.queue_for(self.host, Key::NONE, name.as_bytes());
        let applied = self.core.queue_policies(key.unwrap()).unwrap();
        let definition = applied.definition()?;
        Some(OwnedTable::from(definition.table()))
    }
}

fn table(entries: &[(&str, Value<'_>)]) -> OwnedTable {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.put(name, *value);
    }
    table.finish()
}

#[test]
fn policies_and_parameters_are_in_force_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path());
    broker.declare("orders");
    broker.declare("other");
    broker.set(PolicyKind::User, "limit", "^ord", "max-length", 4);
    broker.set(PolicyKind::User, "limit", "^ord", "max-length", 5);
    broker.set(PolicyKind::User, "gone", "", "message-ttl", 5);
    broker.set(PolicyKind::Operator, "limit", "", "expires", 60_000);
    let host = broker.host;
    let core = &mut broker.core;
    core.set_parameter(host, b"shovel", b"s", Value::string("value"))
        .unwrap();
    core.set_parameter(host, b"shovel", b"gone", Value::Void)
        .unwrap();
    core.set_global_parameter(b"cluster_name", Value::string("hare"))
        .unwrap();
    broker.sync();
    assert!(broker.core.clear_policy(PolicyKind::User, host, b"gone"));
    assert!(broker.core.clear_parameter(host, b"shovel", b"gone"));
    broker.stop();

    let broker = Broker::start(directory.path());
    let length = ("max-length", Value::Long(5));
    let expires = ("expires", Value::Long(60_000));
    assert_eq!(broker.definition("orders"), Some(table(&[expires, length])));
    assert_eq!(broker.definition("other"), Some(table(&[expires])));
    assert!(!broker.core.is_applying_policies());
    let policies = broker.core.policies(PolicyKind::User, broker.host);
    let listed: Vec<_> = policies.iter().map(|policy| policy.to_table()).collect();
    let definition = table(&[length]);
    let expected = table(&[
        ("pattern", Value::string("^ord")),
        ("definition", Value::Table(definition.view())),
        ("priority", Value::Long(3)),
        ("apply-to", Value::string("queues")),
    ]);
    assert_eq!(listed, [expected]);
    let parameters = broker.core.parameters(broker.host);
    assert_eq!(parameters.len(), 1);
    assert_eq!(parameters[0].value.view(), Value::string("value"));
    let name = broker.core.global_parameter(b"cluster_name");
    assert_eq!(name.map(|name| name.view()), Some(Value::string("hare")));
    broker.stop();
}

#[test]
fn a_virtual_host_that_lost_its_settings_has_none_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path());
    broker.set(PolicyKind::User, "limit", "", "max-length", 4);
    broker.sync();
    broker.core.clear_virtual_host_settings(broker.host);
    broker.stop();
    let broker = Broker::start(directory.path());
    assert!(
        broker
            .core
            .policies(PolicyKind::User, broker.host)
            .is_empty()
    );
    broker.stop();
}
