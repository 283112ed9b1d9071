//! What a scenario found out: figures by name, and latencies where it took them.

use hdrhistogram::Histogram;

use crate::client::failure::{Failure, Result};
use crate::process::{self, Span};
use crate::target::Target;

/// One number; `None` where it could not be had.
#[derive(Clone)]
pub struct Figure {
    pub name: &'static str,
    pub value: Option<f64>,
}

pub struct Outcome {
    pub figures: Vec<Figure>,
    pub latencies: Option<Latencies>,
}

/// Nanoseconds, to three digits, up to a minute.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Figure {
    pub fn new(name: &'static str, value: Option<f64>) -> Self {
        Figure { name, value }
    }
}

impl Outcome {
    pub fn new(figures: Vec<Figure>) -> Self {
        Outcome {
            figures,
            latencies: None,
        }
    }

    /// Percentiles come first.
    pub fn with_latencies(mut figures: Vec<Figure>, latencies: Latencies) -> Self {
        let mut all = latencies.figures();
        all.append(&mut figures);
        Outcome {
            figures: all,
            latencies: Some(latencies),
        }
    }

    /// Nothing that makes sense for this target.
    pub fn none() -> Self {
        Outcome::new(Vec::new())
    }
}

impl Latencies {
    pub fn new() -> Result<Self> {
        Histogram::new_with_bounds(1, LONGEST_NS, DIGITS)
            .map(Latencies)
            .map_err(|error| Failure::new(format!("histogram: {error}")))
    }

    /// A longer one counts as a minute.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub fn merge(&mut self, other: &Latencies) {
        // Both have the same bounds, so that everything fits.
        let _ = self.0.add(&other.0);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds below which this share (0 to 1) stayed.
    pub fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    /// Percentiles in microseconds.
    pub fn figures(&self) -> Vec<Figure> {
        let at = |share| (self.count() > 0).then(|| self.at(share));
        vec![
            Figure::new("p50 us", at(0.5)),
            Figure::new("p90 us", at(0.9)),
            Figure::new("p99 us", at(0.99)),
            Figure::new("p99.9 us", at(0.999)),
            Figure::new("max us", at(1.0)),
        ]
    }
}

/// Rate and cost over a span, and the memory at its end.
pub fn cost_figures(target: &Target, rate_name: &'static str, span: Span) -> Vec<Figure> {
    let resident = target.pid.and_then(process::resident_bytes);
    vec![
        Figure::new(rate_name, Some(span.rate())),
        Figure::new(BROKER_CPU, span.broker_cpu()),
        Figure::new(CLIENT_CPU, span.client_cpu()),
        Figure::new("resident MiB", resident.map(|bytes| bytes as f64 / MIB)),
    ]
}

/// What each of `count` things added to the broker's memory.
pub fn growth_figure(before: Option<u64>, after: Option<u64>, count: u64) -> Figure {
    let growth = before
        .zip(after)
        .map(|(before, after)| after as f64 - before as f64);
    Figure::new(GROWTH, growth.map(|bytes| bytes / count as f64))
}

/// Names of figures that reports look for.
pub const DELIVERIES: &str = "deliveries/s";
pub const BROKER_CPU: &str = "broker CPU us each";
pub const CLIENT_CPU: &str = "client CPU us each";
pub const GROWTH: &str = "resident bytes each";

const LONGEST_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;
pub const MIB: f64 = 1_048_576.0;
