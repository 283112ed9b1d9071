//! Policies over 100,000 queues: how long a change takes until it has reached all of them, in how many
//! turns, and how long the longest of these is, since that one holds up the loop; and what policies cost
//! a declaration. Run with `cargo bench --bench policies`.

use std::time::{Duration, Instant};

use leveret::broker::policy::PolicyKind;
use leveret::broker::topology::queue::QueueDeclaration;
use leveret::broker::{Core, VirtualHostKey};
use leveret::slots::Key;
use leveret::wire::amqp::field_table::{OwnedTable, TableBuilder};

fn main() {
    let mut core = Core::new();
    let host = core.virtual_host(b"/").expect("it is always there");
    let declared = declare(&mut core, host, "a");
    println!("{QUEUES} queues, declared in {declared} ns each");
    println!(
        "{:<32} {:>9} {:>7} {:>9} {:>11}",
        "change", "first ms", "turns", "all ms", "longest ms"
    );
    set(&mut core, host, "matches no queue", ("none", "^nothing", 0));
    set(&mut core, host, "matches all", ("all", "orders", 0));
    set(
        &mut core,
        host,
        "matches all, says another",
        ("all", "^.*s-[0-9]+$", 0),
    );
    set(&mut core, host, "looks ahead", ("all", "^(?!amq\\.).*", 0));
    for number in 0..50 {
        let name = format!("p{number}");
        let settings = settings(&format!("^p{number}-.*tmp"), 1);
        core.set_policy(PolicyKind::User, host, name.as_bytes(), settings.view())
            .expect("it is valid");
    }
    change(&mut core, "the last of 50", |_| {});
    change(&mut core, "clear what matched all", |core| {
        core.clear_policy(PolicyKind::User, host, b"all");
    });
    let declared = declare(&mut core, host, "b");
    println!("declared under 51 policies of which none matches: {declared} ns each");
}

fn set(core: &mut Core, host: VirtualHostKey, what: &str, policy: (&str, &str, i64)) {
    let (name, pattern, priority) = policy;
    let settings = settings(pattern, priority);
    change(core, what, |core| {
        core.set_policy(PolicyKind::User, host, name.as_bytes(), settings.view())
            .expect("it is valid");
    });
}

fn change(core: &mut Core, what: &str, act: impl FnOnce(&mut Core)) {
    let started = Instant::now();
    act(core);
    let first = started.elapsed();
    let (mut turns, mut longest) = (0, first);
    while core.is_applying_policies() {
        let started = Instant::now();
        core.tidy();
        longest = longest.max(started.elapsed());
        turns += 1;
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{what:<32} {:>9.2} {turns:>7} {:>9.1} {:>11.2}",
        milliseconds(first),
        milliseconds(started.elapsed()),
        milliseconds(longest)
    );
}

/// Nanoseconds for each.
fn declare(core: &mut Core, virtual_host: VirtualHostKey, prefix: &str) -> u128 {
    let mut arguments = TableBuilder::new();
    arguments.put("x-max-length", 1_000_000i64);
    let names: Vec<_> = (0..QUEUES)
        .map(|number| format!("{prefix}-orders-{number}"))
        .collect();
    let started = Instant::now();
    for name in &names {
        core.declare_queue(&QueueDeclaration {
            virtual_host,
            connection: Key::NONE,
            name: name.as_bytes(),
            generated: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.view(),
        })
        .expect("it is valid");
    }
    started.elapsed().as_nanos() / QUEUES as u128
}

fn settings(pattern: &str, priority: i64) -> OwnedTable {
    let mut definition = TableBuilder::new();
    definition
        .put("max-length", 1_000i64)
        .put("message-ttl", 60_000i64);
    let mut settings = TableBuilder::new();
    settings
        .put("pattern", pattern)
        .put("priority", priority)
        .put_table("definition", &definition);
    settings.finish()
}

const QUEUES: usize = 100_000;
