//! The headers exchange against a naive matcher, and case by case.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::predicate::equal;
use super::*;
use crate::wire::amqp::{OwnedTable, TableBuilder, Value};

type Entry = (&'static str, Value<'static>);

fn table(entries: &[Entry]) -> OwnedTable {
    let mut builder = TableBuilder::new();
    for &(name, value) in entries {
        builder.put(name, value);
    }
    builder.finish()
}

fn routed(headers: &mut Headers<usize>, message: &[Entry]) -> Vec<usize> {
    let mut out = Vec::new();
    headers.route(Some(table(message).view()), &mut out);
    out
}

fn matches(arguments: &[Entry], message: &[Entry]) -> bool {
    let mut headers = Headers::new();
    headers.bind(table(arguments).view(), 1);
    !routed(&mut headers, message).is_empty()
}

const ALL: Entry = ("x-match", Value::string("all"));
const ANY: Entry = ("x-match", Value::string("any"));
const ALL_WITH_X: Entry = ("x-match", Value::string("all-with-x"));
const ANY_WITH_X: Entry = ("x-match", Value::string("any-with-x"));
const PDF: Entry = ("format", Value::string("pdf"));
const ZIP: Entry = ("format", Value::string("zip"));
const REPORT: Entry = ("type", Value::string("report"));
const LOG: Entry = ("type", Value::string("log"));

#[test]
fn all_wants_every_header_and_is_the_default() {
    for arguments in [&[ALL, PDF, REPORT][..], &[PDF, REPORT]] {
        assert!(matches(arguments, &[REPORT, PDF]));
        assert!(matches(arguments, &[REPORT, PDF, ("more", Value::Void)]));
        assert!(!matches(arguments, &[PDF]));
        assert!(!matches(arguments, &[PDF, LOG]));
        assert!(!matches(arguments, &[]));
    }
}

#[test]
fn any_wants_one_of_the_headers() {
    let arguments = [ANY, PDF, LOG];
    assert!(matches(&arguments, &[PDF]));
    assert!(matches(&arguments, &[ZIP, LOG]));
    assert!(!matches(&arguments, &[ZIP, REPORT]));
    assert!(!matches(&arguments, &[]));
}

#[test]
fn all_of_nothing_is_every_message_and_any_of_nothing_is_none() {
    for message in [&[PDF][..], &[]] {
        assert!(matches(&[], message));
        assert!(matches(&[ALL], message));
        assert!(matches(&[ALL_WITH_X], message));
        assert!(!matches(&[ANY], message));
        assert!(!matches(&[ANY_WITH_X], message));
    }
}

#[test]
fn a_message_without_headers_has_an_empty_table() {
    let mut headers = Headers::new();
    headers.bind(table(&[ALL]).view(), 1);
    headers.bind(table(&[PDF]).view(), 2);
    let mut out = Vec::new();
    headers.route(None, &mut out);
    assert_eq!(out, [1]);
}

#[test]
fn names_with_x_count_only_if_x_match_says_so() {
    let x = ("x-tenant", Value::Long(1));
    let other_x = ("x-tenant", Value::Long(2));
    assert!(matches(&[ALL, PDF, x], &[PDF]));
    assert!(!matches(&[ANY, PDF, x], &[x]));
    assert!(matches(&[ALL, x], &[]));
    assert!(!matches(&[ANY, x], &[x]));

    assert!(!matches(&[ALL_WITH_X, PDF, x], &[PDF]));
    assert!(!matches(&[ALL_WITH_X, PDF, x], &[PDF, other_x]));
    assert!(matches(&[ALL_WITH_X, PDF, x], &[PDF, x]));
    assert!(matches(&[ANY_WITH_X, PDF, x], &[x]));
    // x-match itself is never a condition.
    assert!(!matches(&[ANY_WITH_X, PDF], &[ANY_WITH_X]));
}

#[test]
fn void_wants_presence_only() {
    let present = ("format", Value::Void);
    assert!(matches(&[ALL, present], &[PDF]));
    assert!(matches(&[ALL, present], &[present]));
    assert!(!matches(&[ALL, present], &[REPORT]));
    assert!(matches(&[ANY, LOG, present], &[ZIP, REPORT]));
    // The other way round a void header is no value that a binding wants.
    assert!(!matches(&[ALL, PDF], &[present]));
}

#[test]
fn numbers_match_by_value_whatever_their_type() {
    let binding = [("n", Value::SignedInt(10))];
    assert!(matches(&binding, &[("n", Value::Long(10))]));
    assert!(matches(&binding, &[("n", Value::UnsignedByte(10))]));
    assert!(matches(&binding, &[("n", Value::double(10.0))]));
    assert!(!matches(&binding, &[("n", Value::double(10.5))]));
    assert!(!matches(&binding, &[("n", Value::string("10"))]));
    assert!(!matches(&binding, &[("n", Value::Timestamp(10))]));
    let float = [("n", Value::double(0.5))];
    assert!(matches(&float, &[("n", Value::Float(0.5f32.to_bits()))]));
}

#[test]
fn nested_tables_match_whatever_their_order() {
    let table_of = |names: [&str; 2]| {
        let mut inner = TableBuilder::new();
        for name in names {
            inner.put(name, name);
        }
        let mut outer = TableBuilder::new();
        outer.put_table("hash", &inner);
        outer.finish()
    };
    let mut headers = Headers::new();
    headers.bind(table_of(["a", "b"]).view(), 1);
    let mut out = Vec::new();
    headers.route(Some(table_of(["a", "c"]).view()), &mut out);
    assert!(out.is_empty());
    headers.route(Some(table_of(["b", "a"]).view()), &mut out);
    assert_eq!(out, [1]);
}

#[test]
fn a_binding_that_matches_in_many_ways_is_answered_once() {
    let mut headers = Headers::new();
    headers.bind(table(&[ANY, PDF, LOG, ("n", Value::Void)]).view(), 1);
    assert_eq!(
        routed(&mut headers, &[LOG, PDF, ("n", Value::Long(1)), LOG]),
        [1]
    );
}

#[test]
fn unbinding_takes_the_arguments_in_any_order() {
    let mut headers = Headers::new();
    for kind in [ALL, ANY] {
        headers.bind(table(&[kind, PDF, REPORT]).view(), 1);
        headers.bind(table(&[kind, PDF, REPORT]).view(), 2);
        headers.bind(table(&[kind, PDF]).view(), 1);
        headers.unbind(table(&[REPORT, kind, PDF]).view(), 1);
        let found: BTreeSet<_> = routed(&mut headers, &[PDF, REPORT]).into_iter().collect();
        assert!(found.iter().eq(&[1, 2]));
        headers.unbind(table(&[kind, PDF]).view(), 1);
        assert_eq!(routed(&mut headers, &[PDF, REPORT]), [2]);
        headers.unbind(table(&[kind, PDF, REPORT]).view(), 2);
        assert!(routed(&mut headers, &[PDF, REPORT]).is_empty());
    }
}

#[test]
fn a_binding_to_what_is_not_a_number_can_be_unbound() {
    let mut headers = Headers::new();
    let arguments = table(&[ANY, PDF, ("n", Value::double(f64::NAN))]);
    headers.bind(arguments.view(), 1);
    headers.unbind(arguments.view(), 1);
    assert!(routed(&mut headers, &[PDF]).is_empty());
}

#[test]
fn a_message_with_many_headers_is_looked_up_by_name() {
    let names: Vec<String> = (0..1000).map(|index| format!("h{index}")).collect();
    let mut message = TableBuilder::new();
    for (index, name) in names.iter().enumerate() {
        message.put(name, index as i64);
    }
    message.put("h7", "a second h7 does not count");
    let mut headers = Headers::new();
    headers.bind(
        table(&[("h7", Value::Long(7)), ("h999", Value::Void)]).view(),
        1,
    );
    headers.bind(
        table(&[("h7", Value::string("a second h7 does not count"))]).view(),
        2,
    );
    headers.bind(table(&[("h1000", Value::Void)]).view(), 3);
    let mut out = Vec::new();
    headers.route(Some(message.view()), &mut out);
    assert_eq!(out, [1]);
}

#[test]
fn bindings_are_filed_under_their_rarest_condition() {
    let mut headers = Headers::new();
    for customer in 0..100 {
        let arguments = table(&[PDF, ("customer", Value::Long(customer))]);
        headers.bind(arguments.view(), customer as usize);
    }
    let longest = headers.filed.values().map(Vec::len).max();
    assert_eq!(longest, Some(1));
    assert_eq!(
        routed(&mut headers, &[PDF, ("customer", Value::Short(42))]),
        [42]
    );
}

#[derive(Debug, Clone)]
enum Operation {
    Bind(Vec<Entry>, usize),
    /// Undoes one of the bindings made so far, chosen by the number modulo their count.
    Unbind(usize),
    Route(Vec<Entry>),
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let name = prop::sample::select(&["a", "b", "c", "x-d"][..]);
    let value = prop::sample::select(vec![
        Value::Byte(1),
        Value::Long(1),
        Value::Long(2),
        Value::double(1.0),
        Value::string("1"),
        Value::Binary(b"1"),
        Value::Bool(1),
        Value::Void,
    ]);
    prop::collection::vec((name, value), 0..4)
}

fn operation() -> impl Strategy<Value = Operation> {
    let x_match = prop::sample::select(
        &[
            None,
            Some(ALL),
            Some(ANY),
            Some(ALL_WITH_X),
            Some(ANY_WITH_X),
        ][..],
    );
    let arguments = (x_match, entries()).prop_map(|(x_match, mut arguments)| {
        arguments.extend(x_match);
        arguments
    });
    prop_oneof![
        3 => (arguments, 0..3usize).prop_map(|(arguments, to)| Operation::Bind(arguments, to)),
        2 => any::<usize>().prop_map(Operation::Unbind),
        3 => entries().prop_map(Operation::Route),
    ]
}

/// The definition, binding by binding.
fn naive(arguments: &[Entry], message: &[Entry]) -> bool {
    let x_match = arguments.iter().find(|(name, _)| *name == "x-match");
    let x_match = x_match.map_or("all", |(_, value)| value.as_str().unwrap());
    let mut results = arguments
        .iter()
        .filter(|(name, _)| *name != "x-match")
        .filter(|(name, _)| x_match.ends_with("-with-x") || !name.starts_with("x-"))
        .map(|(name, wanted)| {
            let header = message.iter().find(|(other, _)| other == name);
            header.is_some_and(|(_, value)| *wanted == Value::Void || equal(wanted, value))
        });
    if x_match.starts_with("all") {
        results.all(|result| result)
    } else {
        results.any(|result| result)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn routing_agrees_with_the_definition(operations in prop::collection::vec(operation(), 1..60)) {
        let mut headers = Headers::new();
        let mut bound: Vec<(Vec<Entry>, usize)> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Bind(arguments, to) => {
                    headers.bind(table(&arguments).view(), to);
                    bound.push((arguments, to));
                }
                Operation::Unbind(choice) => {
                    if !bound.is_empty() {
                        let (arguments, to) = bound.swap_remove(choice % bound.len());
                        headers.unbind(table(&arguments).view(), to);
                    }
                }
                Operation::Route(message) => {
                    let found: BTreeSet<_> = routed(&mut headers, &message).into_iter().collect();
                    let expected: BTreeSet<_> = bound
                        .iter()
                        .filter(|(arguments, _)| naive(arguments, &message))
                        .map(|(_, to)| *to)
                        .collect();
                    prop_assert_eq!(found, expected, "{:?}", message);
                }
            }
        }
        for (arguments, to) in bound.drain(..) {
            headers.unbind(table(&arguments).view(), to);
        }
        prop_assert!(headers.bindings.is_empty() && headers.filed.is_empty());
        prop_assert!(headers.unconditional.is_none());
    }
}
