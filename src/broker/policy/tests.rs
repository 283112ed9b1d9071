//! Policies and parameters as the doors of [`Core`] show them.

use super::*;
use crate::broker::Route;
use crate::broker::queue::QueueArguments;
use crate::broker::queue::arguments::Overflow;
use crate::broker::topology::binding::{BindRequest, Destination};
use crate::broker::topology::exchange::ExchangeDeclaration;
use crate::broker::topology::queue::QueueDeclaration;
use crate::slots::Key;
use crate::wire::amqp::Properties;
use crate::wire::amqp::field_table::{OwnedTable, TableBuilder, Value};

const LONG: fn(i64) -> Value<'static> = Value::Long;

/// A core, and the virtual host `/` in it.
struct Bench {
    core: Core,
    host: VirtualHostKey,
}

impl Bench {
    fn new() -> Bench {
        let core = Core::new();
        let host = core.virtual_host(b"/").unwrap();
        Bench { core, host }
    }

    fn declare(&mut self, name: &str, arguments: &[(&str, Value<'_>)]) -> QueueKey {
        self.core
            .declare_queue(&QueueDeclaration {
                virtual_host: self.host,
                connection: Key::NONE,
                name: name.as_bytes(),
                generated: false,
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: table(arguments).view(),
            })
            .unwrap();
        let found = self.core.queue_for(self.host, Key::NONE, name.as_bytes());
        found.unwrap()
    }

    fn declare_exchange(&mut self, name: &str, arguments: &[(&str, Value<'_>)]) -> ExchangeKey {
        self.core
            .declare_exchange(&ExchangeDeclaration {
                virtual_host: self.host,
                name: name.as_bytes(),
                kind: b"fanout",
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: table(arguments).view(),
            })
            .unwrap();
        self.core.exchange(self.host, name.as_bytes()).unwrap()
    }

    fn bind(&mut self, source: &str, queue: QueueKey) {
        let request = BindRequest {
            virtual_host: self.host,
            source: source.as_bytes(),
            routing_key: b"",
            arguments: Table::EMPTY,
        };
        let source = self.core.exchange(self.host, source.as_bytes()).unwrap();
        let destination = Destination::Queue(queue);
        self.core.bind(source, destination, &request).unwrap();
    }

    fn set(&mut self, name: &str, pattern: &str, definition: &[(&str, Value<'_>)]) {
        self.set_with(name, pattern, definition, &[]);
    }

    fn set_with(
        &mut self,
        name: &str,
        pattern: &str,
        definition: &[(&str, Value<'_>)],
        others: &[(&str, Value<'_>)],
    ) {
        let settings = settings(pattern, definition, others);
        self.core
            .set_policy(
                PolicyKind::User,
                self.host,
                name.as_bytes(),
                settings.view(),
            )
            .unwrap();
    }

    fn set_operator(&mut self, name: &str, pattern: &str, definition: &[(&str, Value<'_>)]) {
        let settings = settings(pattern, definition, &[]);
        self.core
            .set_policy(
                PolicyKind::Operator,
                self.host,
                name.as_bytes(),
                settings.view(),
            )
            .unwrap();
    }

    fn clear(&mut self, name: &str) -> bool {
        self.core
            .clear_policy(PolicyKind::User, self.host, name.as_bytes())
    }

    fn arguments(&self, queue: QueueKey) -> &QueueArguments {
        &self.core.traffic.queues[queue].arguments
    }

    /// The names of the policies in force.
    fn applied(&self, queue: QueueKey) -> (Option<String>, Option<String>) {
        let applied = self.core.queue_policies(queue).unwrap();
        let name = |policy: Option<&Rc<Policy>>| policy.map(|policy| policy.name.to_string());
        (name(applied.policy()), name(applied.operator_policy()))
    }

    fn policy_of(&self, queue: QueueKey) -> Option<String> {
        self.applied(queue).0
    }

    fn route(&mut self, exchange: ExchangeKey) -> Vec<QueueKey> {
        let mut route = Route::default();
        self.core
            .route(exchange, &[b"key"], &Properties::default(), &mut route);
        route.queues
    }

    /// Turns until all exchanges and queues have their policies.
    fn settle(&mut self) -> usize {
        let mut turns = 0;
        while self.core.is_applying_policies() {
            assert!(self.core.has_more_work());
            self.core.tidy();
            turns += 1;
        }
        turns
    }
}

fn table(entries: &[(&str, Value<'_>)]) -> OwnedTable {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.put(name, *value);
    }
    table.finish()
}

fn settings(
    pattern: &str,
    definition: &[(&str, Value<'_>)],
    others: &[(&str, Value<'_>)],
) -> OwnedTable {
    let definition = table(definition);
    let mut entries = others.to_vec();
    entries.push(("pattern", Value::string(pattern)));
    entries.push(("definition", Value::Table(definition.view())));
    table(&entries)
}

#[test]
fn a_policy_changes_existing_queues_at_once_and_leaves_no_trace_when_cleared() {
    let mut bench = Bench::new();
    let orders = bench.declare("orders", &[("x-max-length", LONG(7))]);
    let other = bench.declare("other", &[]);
    let before = [orders, other].map(|queue| bench.arguments(queue).clone());

    bench.set(
        "limits",
        "^ord",
        &[("max-length", LONG(9)), ("message-ttl", LONG(100))],
    );
    assert_eq!(bench.arguments(orders).length_max, Some(7));
    assert_eq!(bench.arguments(orders).message_ttl_ms, Some(100));
    assert_eq!(bench.policy_of(orders).as_deref(), Some("limits"));
    assert_eq!(bench.policy_of(other), None);

    bench.set("limits", "^ord", &[("max-length", LONG(5))]);
    assert_eq!(bench.arguments(orders).length_max, Some(5));
    assert_eq!(bench.arguments(orders).message_ttl_ms, None);

    assert!(bench.clear("limits"));
    assert!(!bench.clear("limits"));
    let after = [orders, other].map(|queue| bench.arguments(queue).clone());
    assert_eq!(before, after);
    assert_eq!(bench.policy_of(orders), None);
}

#[test]
fn a_new_queue_is_declared_under_its_policy_and_compared_by_its_arguments_alone() {
    let mut bench = Bench::new();
    bench.set("all", "", &[("overflow", Value::string("reject-publish"))]);
    let queue = bench.declare("q", &[("x-max-length", LONG(1))]);
    assert_eq!(bench.arguments(queue).overflow, Overflow::RejectPublish);
    assert_eq!(bench.declare("q", &[("x-max-length", LONG(1))]), queue);
    let stored = &bench.core.traffic.queues[queue].declared_arguments;
    assert_eq!(stored, &table(&[("x-max-length", LONG(1))]));
}

#[test]
fn of_those_that_match_the_highest_priority_is_applied_and_then_the_first_name() {
    let mut bench = Bench::new();
    let queue = bench.declare("orders", &[]);
    let limit = [("max-length", LONG(1))];
    bench.set("b", "ord", &limit);
    bench.set("a", "ord", &limit);
    assert_eq!(bench.policy_of(queue).as_deref(), Some("a"));
    bench.set_with("z", "ord", &limit, &[("priority", LONG(1))]);
    assert_eq!(bench.policy_of(queue).as_deref(), Some("z"));
    bench.set_with("y", "elsewhere", &limit, &[("priority", LONG(2))]);
    assert_eq!(bench.policy_of(queue).as_deref(), Some("z"));
    bench.set_with("x", "ord", &limit, &[("priority", LONG(-1))]);
    assert_eq!(bench.policy_of(queue).as_deref(), Some("z"));
    let listed = bench.core.policies(PolicyKind::User, bench.host).iter();
    let names: Vec<_> = listed.map(|policy| policy.name.to_string()).collect();
    assert_eq!(names, ["y", "z", "a", "b", "x"]);
    assert!(bench.clear("z"));
    assert_eq!(bench.policy_of(queue).as_deref(), Some("a"));
}

#[test]
fn a_policy_applies_to_what_it_is_for() {
    let mut bench = Bench::new();
    let classic = bench.declare("q-classic", &[]);
    let quorum = bench.declare("q-quorum", &[("x-queue-type", Value::string("quorum"))]);
    let exchange = bench.declare_exchange("q-exchange", &[]);
    for (apply_to, expected) in [
        ("all", [true, true, true]),
        ("queues", [true, true, false]),
        ("exchanges", [false, false, true]),
        ("classic_queues", [true, false, false]),
        ("quorum_queues", [false, true, false]),
        ("streams", [false, false, false]),
    ] {
        let others = [("apply-to", Value::string(apply_to))];
        bench.set_with("p", "^q-", &[("max-length", LONG(1))], &others);
        let applied = [
            bench.core.queue_policies(classic).unwrap(),
            bench.core.queue_policies(quorum).unwrap(),
            bench.core.exchange_policies(exchange).unwrap(),
        ];
        assert_eq!(
            applied.map(|applied| !applied.is_empty()),
            expected,
            "{apply_to}"
        );
    }
    bench.set(
        "p",
        "^q-",
        &[
            ("queue-mode", Value::string("lazy")),
            ("max-length", LONG(1)),
        ],
    );
    assert_eq!(bench.arguments(classic).length_max, Some(1));
    assert_eq!(
        bench.arguments(quorum).length_max,
        None,
        "it knows no queue-mode"
    );
}

#[test]
fn an_operator_policy_limits_what_policy_and_arguments_say() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", &[("x-max-length", LONG(9))]);
    bench.set_operator(
        "op",
        "",
        &[("max-length", LONG(8)), ("expires", LONG(1000))],
    );
    assert_eq!(bench.arguments(queue).length_max, Some(8));
    bench.set(
        "user",
        "",
        &[("max-length", LONG(10)), ("message-ttl", LONG(5))],
    );
    assert_eq!(bench.arguments(queue).length_max, Some(8));
    assert_eq!(bench.arguments(queue).message_ttl_ms, Some(5));
    assert_eq!(bench.arguments(queue).expires_ms, Some(1000));
    let names = (Some("user".to_owned()), Some("op".to_owned()));
    assert_eq!(bench.applied(queue), names);
    let definition = bench.core.queue_policies(queue).unwrap().definition();
    let expected = table(&[
        ("expires", LONG(1000)),
        ("max-length", LONG(8)),
        ("message-ttl", LONG(5)),
    ]);
    assert_eq!(definition.unwrap().table(), expected.view());
    bench
        .core
        .clear_policy(PolicyKind::Operator, bench.host, b"op");
    assert_eq!(bench.arguments(queue).length_max, Some(9));
}

#[test]
fn an_alternate_exchange_by_policy_routes_at_once_and_an_argument_wins() {
    let mut bench = Bench::new();
    let [first, second] = ["first", "second"].map(|name| {
        let queue = bench.declare(name, &[]);
        bench.declare_exchange(name, &[]);
        bench.bind(name, queue);
        queue
    });
    let plain = bench.declare_exchange("x-plain", &[]);
    let told = [("alternate-exchange", Value::string("second"))];
    let told = bench.declare_exchange("x-told", &told);
    assert_eq!(bench.route(plain), []);

    let generation = bench.core.generation();
    bench.set(
        "unrouted",
        "^x-",
        &[("alternate-exchange", Value::string("first"))],
    );
    assert!(
        bench.core.generation() > generation,
        "remembered routes are stale"
    );
    assert_eq!(bench.route(plain), [first]);
    assert_eq!(bench.route(told), [second]);
    let late = bench.declare_exchange("x-late", &[]);
    assert_eq!(bench.route(late), [first]);

    let generation = bench.core.generation();
    assert!(bench.clear("unrouted"));
    assert!(
        bench.core.generation() > generation,
        "remembered routes are stale"
    );
    assert_eq!(bench.route(plain), []);
    assert_eq!(bench.route(told), [second]);
}

#[test]
fn a_policy_leaves_the_ways_of_a_consistent_hash_exchange_as_they_are() {
    let mut bench = Bench::new();
    bench
        .core
        .declare_exchange(&ExchangeDeclaration {
            virtual_host: bench.host,
            name: b"x",
            kind: b"x-consistent-hash",
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::EMPTY,
        })
        .unwrap();
    for name in ["a", "b", "c"] {
        bench.declare(name, &[]);
        let request = BindRequest {
            virtual_host: bench.host,
            source: b"x",
            routing_key: b"1",
            arguments: Table::EMPTY,
        };
        let bound = bench.core.bind_queue(&request, Key::NONE, name.as_bytes());
        bound.unwrap();
    }
    let exchange = bench.core.exchange(bench.host, b"x").unwrap();
    let ways = |bench: &mut Bench| -> Vec<_> {
        let keys = (0..100).map(|key: u32| key.to_be_bytes());
        keys.flat_map(|key| {
            let mut route = Route::default();
            bench
                .core
                .route(exchange, &[&key], &Properties::default(), &mut route);
            assert_eq!(route.queues.len(), 1);
            route.queues
        })
        .collect()
    };
    let before = ways(&mut bench);
    bench.set("p", ".*", &[("alternate-exchange", "amq.fanout".into())]);
    bench.settle();
    assert_eq!(ways(&mut bench), before);
    bench.clear("p");
    bench.settle();
    assert_eq!(ways(&mut bench), before);
}

#[test]
fn a_policy_that_makes_no_sense_changes_nothing() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", &[]);
    bench.set("p", "q", &[("max-length", LONG(1))]);
    let limit = [("max-length", LONG(2))];
    let no_pattern = table(&[("definition", Value::Table(Table::EMPTY))]);
    for (settings, text) in [
        (
            settings("q", &[("x", LONG(1))], &[]),
            "[{<<\"x\">>,1}] are not recognised policy settings",
        ),
        (settings("q", &[], &[]), "no policy provided"),
        (
            settings("q", &limit, &[("priority", Value::string("5"))]),
            "priority should be a number, actually was <<\"5\">>",
        ),
        (
            settings("q", &limit, &[("apply-to", Value::string("foo"))]),
            "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues', \
             'quorum_queues', 'streams', 'exchanges', or 'all'",
        ),
        (
            settings("(", &limit, &[]),
            "pattern should be regular expression but is invalid: {\"unclosed group\",0}",
        ),
        (no_pattern, "Key \"pattern\" not found in p"),
    ] {
        let refused = bench
            .core
            .set_policy(PolicyKind::User, bench.host, b"p", settings.view());
        assert_eq!(refused, Err(Invalid(text.to_owned())));
    }
    assert_eq!(bench.arguments(queue).length_max, Some(1));
}

#[test]
fn a_shorter_lease_ends_at_its_own_time() {
    let mut bench = Bench::new();
    bench.core.set_time(1000);
    let queue = bench.declare("q", &[("x-expires", LONG(5000))]);
    bench.set("short", "q", &[("expires", LONG(100))]);
    assert_eq!(bench.core.next_deadline(), Some(1100));
    bench.core.set_time(1100);
    bench.core.fire_due();
    assert!(bench.core.traffic.queues.get(queue).is_none());
}

#[test]
fn a_change_reaches_many_queues_in_pieces_and_each_in_the_end() {
    let mut bench = Bench::new();
    let queues: Vec<_> = (0..4_000)
        .map(|number| bench.declare(&format!("q{number}"), &[]))
        .collect();
    let limited = |bench: &Bench, limit| {
        let mut queues = queues.iter();
        queues.all(|queue| bench.arguments(*queue).length_max == limit)
    };
    bench.set("p", "^q", &[("max-length", LONG(1))]);
    assert!(bench.core.is_applying_policies());
    let extra = bench.declare("q-meanwhile", &[]);
    assert_eq!(bench.arguments(extra).length_max, Some(1));
    let turns = bench.settle();
    assert!((2..20).contains(&turns), "{turns}");
    assert!(limited(&bench, Some(1)));

    bench.set("p", "^q", &[("max-length", LONG(2))]);
    bench.core.tidy();
    bench.set("p", "^q", &[("max-length", LONG(3))]);
    bench.core.tidy();
    bench.clear("p");
    bench.set("p", "^q", &[("max-length", LONG(4))]);
    bench.settle();
    assert!(limited(&bench, Some(4)));
    bench.clear("p");
    bench.settle();
    assert!(limited(&bench, None));
}

#[test]
fn parameters_are_kept_and_listed_by_name() {
    let mut bench = Bench::new();
    let value = table(&[("uri", Value::string("amqp://"))]);
    let value = Value::Table(value.view());
    let host = bench.host;
    let core = &mut bench.core;
    core.set_parameter(host, b"shovel", b"b", value).unwrap();
    core.set_parameter(host, b"federation-upstream", b"c", value)
        .unwrap();
    core.set_parameter(host, b"shovel", b"a", LONG(1)).unwrap();
    core.set_parameter(host, b"shovel", b"a", LONG(2)).unwrap();
    let listed: Vec<_> = core
        .parameters(host)
        .into_iter()
        .map(|parameter| format!("{}/{}", parameter.component, parameter.name))
        .collect();
    assert_eq!(listed, ["federation-upstream/c", "shovel/a", "shovel/b"]);
    let found = core.parameter(host, b"shovel", b"a").map(OwnedValue::view);
    assert_eq!(found, Some(LONG(2)));
    assert!(core.clear_parameter(host, b"shovel", b"a"));
    assert!(!core.clear_parameter(host, b"shovel", b"a"));
    for component in ["policy", "operator_policy"] {
        let refused = core.set_parameter(host, component.as_bytes(), b"a", value);
        let text = "policies may not be set using this method";
        assert_eq!(refused, Err(Invalid(text.to_owned())));
    }
    assert!(
        core.set_parameter(host, b"shovel", &[b'a'; 256], value)
            .is_err()
    );

    core.set_global_parameter(b"cluster_name", Value::string("hare"))
        .unwrap();
    let names: Vec<_> = core
        .global_parameters()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["cluster_name"]);
    assert!(core.clear_global_parameter(b"cluster_name"));
    assert!(core.global_parameter(b"cluster_name").is_none());
}

#[test]
fn a_virtual_host_takes_its_policies_and_parameters_along() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", &[]);
    bench.set("p", "", &[("max-length", LONG(1))]);
    bench.set_operator("o", "", &[("max-length", LONG(1))]);
    bench
        .core
        .set_parameter(bench.host, b"shovel", b"s", LONG(1))
        .unwrap();
    bench.core.set_global_parameter(b"g", LONG(1)).unwrap();
    bench.core.clear_virtual_host_settings(bench.host);
    assert!(bench.core.parameters(bench.host).is_empty());
    assert_eq!(bench.applied(queue), (None, None));
    assert!(bench.core.global_parameter(b"g").is_some());
}
