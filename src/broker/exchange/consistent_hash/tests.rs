//! Shares, their stability, and the texts for weights.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::broker::exchange::testing::{bind, declared, routed, table, unbind};

fn exchange(weights: &[(u32, u32)]) -> ConsistentHash<u32> {
    let mut exchange = declared(Table::EMPTY);
    for &(destination, weight) in weights {
        bind(&mut exchange, &weight.to_string(), destination);
    }
    exchange
}

fn routes(exchange: &mut ConsistentHash<u32>, count: u32) -> Vec<u32> {
    let keys = (0..count).map(|key| format!("key.{key}"));
    keys.flat_map(|key| {
        let found = routed(exchange, &key);
        assert_eq!(found.len(), 1);
        found
    })
    .collect()
}

fn counts(routes: &[u32]) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for &destination in routes {
        *counts.entry(destination).or_insert(0) += 1;
    }
    counts
}

#[test]
fn nothing_bound_leads_nowhere_and_one_gets_all() {
    let mut exchange = exchange(&[]);
    assert!(routed(&mut exchange, "k").is_empty());
    bind(&mut exchange, "7", 3);
    assert_eq!(routes(&mut exchange, 100), [3; 100]);
    unbind(&mut exchange, "7", 3);
    assert!(routed(&mut exchange, "k").is_empty());
}

#[test]
fn destinations_get_their_part_by_weight() {
    let weights = [(1, 1), (2, 2), (3, 3), (4, 10), (5, 4)];
    let counts = counts(&routes(&mut exchange(&weights), 100_000));
    for (destination, weight) in weights {
        let expected = weight * 5000;
        let deviation = counts[&destination].abs_diff(expected);
        assert!(deviation < 400, "{destination}: {counts:?}");
    }
}

#[test]
fn a_hundred_equal_queues_get_equal_parts() {
    let weights: Vec<_> = (0..100).map(|destination| (destination, 1)).collect();
    let counts = counts(&routes(&mut exchange(&weights), 100_000));
    assert!(counts.values().all(|count| count.abs_diff(1000) < 160));
    assert_eq!(counts.len(), 100);
}

#[test]
fn huge_weights_cost_nothing_and_keep_their_proportion() {
    let weights = [(1, 1_000_000_000), (2, 3_000_000_000)];
    let counts = counts(&routes(&mut exchange(&weights), 10_000));
    assert!(counts[&1].abs_diff(2500) < 200);
    let mut exchange = exchange(&[]);
    let huge = "9".repeat(255);
    bind(&mut exchange, &huge, 1);
    bind(&mut exchange, "1", 2);
    assert_eq!(routes(&mut exchange, 100), [1; 100]);
    unbind(&mut exchange, &huge, 1);
    assert_eq!(routes(&mut exchange, 100), [2; 100]);
}

#[test]
fn two_bindings_of_one_destination_add_up_until_one_goes() {
    let mut twice = exchange(&[(1, 1), (1, 2), (2, 1)]);
    let at_once = routes(&mut exchange(&[(1, 3), (2, 1)]), 1000);
    assert_eq!(routes(&mut twice, 1000), at_once);
    unbind(&mut twice, "2", 1);
    let alone = routes(&mut exchange(&[(1, 1), (2, 1)]), 1000);
    assert_eq!(routes(&mut twice, 1000), alone);
}

#[test]
fn headers_and_properties_decide_where_asked_for() {
    let arguments = table(&[("hash-header", "customer".into())]);
    let mut by_header: ConsistentHash<u32> = declared(arguments.view());
    (0..20).for_each(|destination| bind(&mut by_header, "1", destination));
    let mut route = |customer: &str, key: &[u8]| {
        let headers = table(&[("customer", customer.into())]);
        let properties = Properties {
            headers: Some(headers.view()),
            ..Properties::default()
        };
        let mut out = Vec::new();
        by_header.route(key, &properties, &mut out);
        out[0]
    };
    let found: Vec<_> = (0..100)
        .map(|n| {
            let customer = n.to_string();
            let one = route(&customer, b"a");
            assert_eq!(one, route(&customer, b"b"));
            one
        })
        .collect();
    assert!(counts(&found).len() > 15);
    assert!(by_header.is_repeatable());
    let arguments = table(&[("hash-property", "message_id".into())]);
    let by_property: ConsistentHash<u32> = declared(arguments.view());
    assert!(!by_property.is_repeatable(), "routes are kept by headers");
}

#[test]
fn weights_are_checked_in_rabbitmqs_words() {
    let text = |key: &str| weight(key.as_bytes()).unwrap_err();
    for (key, expected) in [("1", 1), ("007", 7), ("+3", 3), ("99999999999", u32::MAX)] {
        assert_eq!(weight(key.as_bytes()), Ok(expected));
    }
    assert_eq!(
        text("abc"),
        "The binding key must be an integer: <<\"abc\">>"
    );
    assert_eq!(text(""), "The binding key must be an integer: <<>>");
    for key in ["1.5", " 3", "2 ", "-", "+", "0x1"] {
        assert!(text(key).starts_with("The binding key must be an integer: "));
    }
    for key in ["0", "-1", "-0", "+000"] {
        assert_eq!(text(key), "The binding key must be greater than 0");
    }
}

proptest! {
    #[test]
    fn a_binding_takes_only_its_share_and_gives_only_that_back(
        weights in prop::collection::vec(1_u32..20, 1..12),
        added in 1_u32..20,
    ) {
        let old: Vec<_> = (0..).zip(weights.iter().copied()).collect();
        let mut exchange = exchange(&old);
        let before = routes(&mut exchange, 2000);
        bind(&mut exchange, &added.to_string(), 99);
        let with = routes(&mut exchange, 2000);
        for (before, with) in before.iter().zip(&with) {
            prop_assert!(before == with || *with == 99);
        }
        let taken = with.iter().filter(|&&to| to == 99).count() as f64;
        let total: u32 = weights.iter().sum::<u32>() + added;
        let expected = 2000.0 * f64::from(added) / f64::from(total);
        prop_assert!((taken - expected).abs() < 6.0 * expected.sqrt() + 6.0);
        unbind(&mut exchange, &added.to_string(), 99);
        prop_assert_eq!(routes(&mut exchange, 2000), before);
    }

    #[test]
    fn only_the_bindings_count_not_how_they_came_to_be(
        mut weights in prop::collection::vec((0_u32..8, 1_u32..5), 1..20),
        gone in prop::collection::vec((0_u32..8, 1_u32..5), 0..10),
        seed in any::<u64>(),
    ) {
        let mut straight = exchange(&weights);
        weights.sort_by_key(|binding| crate::broker::exchange::hash::scramble(
            seed ^ u64::from(binding.0) << 32 ^ u64::from(binding.1),
        ));
        let mut roundabout = exchange(&gone);
        for (destination, weight) in weights {
            bind(&mut roundabout, &weight.to_string(), destination);
        }
        for (destination, weight) in gone {
            unbind(&mut roundabout, &weight.to_string(), destination);
        }
        prop_assert_eq!(routes(&mut straight, 200), routes(&mut roundabout, 200));
    }
}
