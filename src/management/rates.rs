//! How fast counts grow. Counters are plain; what they were a while ago is remembered here, for objects
//! that somebody looks at, from one look to the next. Nothing is looked at for the sake of a rate alone.
//!
//! A rate is over the last 5 to 10 seconds where there were looks so long ago, else over what there is;
//! at the first look it is 0. Ranges of samples (RabbitMQ: `lengths_age` and the like) begin with the
//! first look that asks for them.
//!
//! Bounds: so many objects, each with two samples, and with a range of so many for the few that are looked
//! at in detail. What nobody asks for is forgotten.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde::ser::SerializeMap;

use super::call::Call;
use super::locked;

/// What has counts. Numbers name objects for all time ([`crate::slots::Key::to_bits`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// For all that such a user sees.
    Overview(Option<String>),
    Node,
    VirtualHost(String),
    Queue(u64),
    Exchange(u64),
    Connection(u64),
    Channel(u64),
}

/// What samples of some counts a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub age_ms: u64,
    pub step_ms: u64,
}

/// Counts with their names, shown as `publish` and `publish_details`.
#[derive(Debug)]
pub struct Measured {
    names: &'static [&'static str],
    values: Vec<u64>,
    details: Vec<Details>,
}

/// `publish_details`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Details {
    /// In a second.
    pub rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<Vec<ShownSample>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct ShownSample {
    sample: u64,
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// What is remembered of all objects.
#[derive(Default)]
pub struct Rates {
    objects: HashMap<Subject, History>,
    swept_ms: u64,
}

#[derive(Default)]
struct History {
    /// Rates are since then.
    base: Option<Sample>,
    /// The base to come.
    next: Option<Sample>,
    /// For ranges; the newest last.
    series: VecDeque<Sample>,
    wants_series: bool,
    asked_ms: u64,
}

#[derive(Clone)]
struct Sample {
    at_ms: u64,
    values: Box<[u64]>,
}

impl Rates {
    /// Notes what the counts are now, and says how they change: rates, and samples where `ranges` has
    /// a range for a count.
    pub fn note(
        &mut self,
        subject: Subject,
        values: &[u64],
        ranges: &[Option<Range>],
        now_ms: u64,
    ) -> Vec<Details> {
        self.forget(now_ms);
        if self.objects.len() >= OBJECTS_MAX && !self.objects.contains_key(&subject) {
            return vec![Details::default(); values.len()];
        }
        let history = self.objects.entry(subject).or_default();
        history.asked_ms = now_ms;
        history.wants_series |= ranges.iter().any(Option::is_some);
        history.take(values, now_ms);
        let details = values.iter().enumerate().map(|(at, value)| {
            let rate = history.rate(at, *value, now_ms);
            match ranges.get(at).copied().flatten() {
                Some(range) => history.details(at, rate, range, now_ms),
                None => Details {
                    rate,
                    ..Details::default()
                },
            }
        });
        details.collect()
    }

    fn forget(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.swept_ms) < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        self.objects
            .retain(|_, it| now_ms.saturating_sub(it.asked_ms) < FORGET_MS);
        self.objects.shrink_to_fit();
    }
}

impl History {
    fn take(&mut self, values: &[u64], now_ms: u64) {
        let sample = || Sample {
            at_ms: now_ms,
            values: values.into(),
        };
        let is_old = |it: &Sample| now_ms.saturating_sub(it.at_ms) >= RATE_MS;
        match (&self.base, &self.next) {
            (None, _) => self.base = Some(sample()),
            (Some(base), None) if is_old(base) => self.next = Some(sample()),
            (Some(_), Some(next)) if is_old(next) => {
                self.base = self.next.replace(sample());
            }
            _ => {}
        }
        if self.wants_series {
            let last_ms = self.series.back().map(|it| it.at_ms);
            if last_ms.is_none_or(|last| now_ms.saturating_sub(last) >= SERIES_STEP_MS) {
                self.series.push_back(sample());
            }
            let first_ms = now_ms.saturating_sub(SERIES_MS);
            while self.series.len() > SERIES_MAX
                || self.series.front().is_some_and(|it| it.at_ms < first_ms)
            {
                self.series.pop_front();
            }
        }
    }

    fn rate(&self, at: usize, value: u64, now_ms: u64) -> f64 {
        let base = self.base.as_ref();
        base.map_or(0.0, |base| {
            per_second(base.value(at), value, now_ms.saturating_sub(base.at_ms))
        })
    }

    /// Samples stand at whole steps of time, the newest first, as far back as there are any.
    fn details(&self, at: usize, rate: f64, range: Range, now_ms: u64) -> Details {
        let newest_ms = now_ms - now_ms % range.step_ms;
        let steps = (range.age_ms / range.step_ms).min(SAMPLES_MAX);
        let times = (0..=steps).map(|step| newest_ms.saturating_sub(step * range.step_ms));
        let samples: Vec<ShownSample> = times
            .filter_map(|timestamp| {
                // What it was when the step ended, by the first look since.
                let since = self
                    .series
                    .partition_point(|it| it.at_ms + range.step_ms <= timestamp);
                let sample = self.series.get(since)?;
                (sample.at_ms <= timestamp + range.step_ms).then(|| ShownSample {
                    sample: sample.value(at),
                    timestamp,
                })
            })
            .collect();
        let (avg_rate, avg) = averages(&samples);
        Details {
            rate,
            samples: Some(samples),
            avg_rate: Some(avg_rate),
            avg: Some(avg),
        }
    }
}

impl Sample {
    fn value(&self, at: usize) -> u64 {
        self.values.get(at).copied().unwrap_or(0)
    }
}

impl Serialize for Measured {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 * self.values.len()))?;
        for (at, name) in self.names.iter().enumerate() {
            map.serialize_entry(name, &self.values[at])?;
            map.serialize_entry(&format!("{name}_details"), &self.details[at])?;
        }
        map.end()
    }
}

/// Counts of one object that belong together.
pub struct Group {
    pub names: &'static [&'static str],
    pub values: Vec<u64>,
    /// What a request calls their range: `lengths` of `lengths_age` and `lengths_incr`.
    pub range: &'static str,
}

/// Counts with their rates, in the groups' order.
pub fn measure(call: &Call<'_>, subject: Subject, groups: Vec<Group>) -> Vec<Measured> {
    let mut values = Vec::new();
    let mut ranges = Vec::new();
    for group in &groups {
        let range = range_of(call, group.range);
        values.extend(&group.values);
        ranges.extend(group.values.iter().map(|_| range));
    }
    let now_ms = call.now.unix_ms;
    let mut rates = locked(&call.management.rates);
    let mut details = rates.note(subject, &values, &ranges, now_ms).into_iter();
    let measured = groups.into_iter().map(|group| Measured {
        names: group.names,
        details: details.by_ref().take(group.values.len()).collect(),
        values: group.values,
    });
    measured.collect()
}

fn range_of(call: &Call<'_>, name: &str) -> Option<Range> {
    let seconds = |what: &str| {
        let text = call.request.parameter(&format!("{name}_{what}"))?;
        text.parse::<u64>().ok().filter(|seconds| *seconds > 0)
    };
    let (age, step) = (seconds("age")?, seconds("incr")?);
    Some(Range {
        age_ms: age.min(SERIES_MS / 1000) * 1000,
        step_ms: step.min(SERIES_MS / 1000) * 1000,
    })
}

fn per_second(before: u64, after: u64, over_ms: u64) -> f64 {
    if over_ms < MEANINGFUL_MS {
        return 0.0;
    }
    (after as f64 - before as f64) * 1000.0 / over_ms as f64
}

/// Of the newest and the oldest, and of all.
fn averages(samples: &[ShownSample]) -> (f64, f64) {
    let (Some(newest), Some(oldest)) = (samples.first(), samples.last()) else {
        return (0.0, 0.0);
    };
    let rate = per_second(
        oldest.sample,
        newest.sample,
        newest.timestamp - oldest.timestamp,
    );
    let sum: f64 = samples.iter().map(|it| it.sample as f64).sum();
    (rate, sum / samples.len() as f64)
}

const OBJECTS_MAX: usize = 50_000;
const RATE_MS: u64 = 5_000;
/// Less than this says nothing.
const MEANINGFUL_MS: u64 = 500;
const SWEEP_MS: u64 = 10_000;
const FORGET_MS: u64 = 120_000;
const SERIES_STEP_MS: u64 = 2_500;
/// RabbitMQ keeps `global` samples for so long in detail and more.
const SERIES_MS: u64 = 3_600_000;
const SERIES_MAX: usize = 1_500;
/// In one answer, of one count.
const SAMPLES_MAX: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rates: &mut Rates, value: u64, now_ms: u64) -> f64 {
        rates.note(Subject::Node, &[value], &[], now_ms)[0].rate
    }

    #[test]
    fn a_rate_is_over_the_last_seconds_and_not_since_the_first_look() {
        let mut rates = Rates::default();
        let start = 1_000_000;
        assert_eq!(rate(&mut rates, 100, start), 0.0);
        assert_eq!(rate(&mut rates, 110, start + 1_000), 10.0);
        for second in 2..=60 {
            rate(&mut rates, 100 + 10 * second, start + 1_000 * second);
        }
        let now = start + 61_000;
        assert_eq!(rate(&mut rates, 710, now), 10.0);
        for second in 62..=80 {
            rate(&mut rates, 710, start + 1_000 * second);
        }
        assert_eq!(rate(&mut rates, 710, start + 81_000), 0.0);
    }

    #[test]
    fn lengths_may_shrink() {
        let mut rates = Rates::default();
        rate(&mut rates, 100, 10_000);
        assert_eq!(rate(&mut rates, 50, 15_000), -10.0);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut rates = Rates::default();
        rates.note(Subject::Queue(1), &[1], &[], 10_000);
        rates.note(Subject::Queue(2), &[1], &[], 10_000 + FORGET_MS);
        assert_eq!(rates.objects.len(), 1);
    }

    #[test]
    fn samples_stand_at_whole_steps_newest_first() {
        let mut rates = Rates::default();
        let range = Some(Range {
            age_ms: 20_000,
            step_ms: 5_000,
        });
        let mut last = Vec::new();
        for second in 0..=100 {
            let now_ms = 1_000_000 + second * 1_000;
            last = rates.note(Subject::Node, &[second * 10], &[range], now_ms);
        }
        let details = &last[0];
        let samples = details.samples.as_ref().unwrap();
        let times: Vec<_> = samples.iter().map(|it| it.timestamp).collect();
        assert_eq!(
            times,
            [1_100_000, 1_095_000, 1_090_000, 1_085_000, 1_080_000]
        );
        assert!(samples.windows(2).all(|two| two[0].sample > two[1].sample));
        let avg_rate = details.avg_rate.unwrap();
        assert!((9.0..=11.0).contains(&avg_rate), "{avg_rate}");
    }
}
