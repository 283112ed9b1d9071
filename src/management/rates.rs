//! How fast counts grow. Counters are plain; what they were a while ago is remembered here.
//!
//! A rate is over the last 5 to 10 seconds where there were looks so long ago, else over what there is;
//! at the first look it is 0. Ranges of samples (RabbitMQ: `lengths_age` and the like) go back for up to an hour.
//! Of the broker as a whole, and of queues that change, they are always taken ([`sampler`](super::sampler)); of all
//! else from the first look on that asks for them.
//!
//! Bounds: so many objects, each with two samples, and all further samples together in 8 MiB: the more change, the
//! less far back they go. What does not change and nobody asks for is forgotten.

use std::collections::HashMap;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::call::Call;
use super::locked;
use super::series::{Sample, Series};

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
pub struct Rates {
    objects: HashMap<Subject, History>,
    swept_ms: u64,
    /// How far back samples go.
    depth_ms: u64,
}

#[derive(Default)]
struct History {
    /// Rates are since then.
    base: Option<Sample>,
    /// The base to come.
    next: Option<Sample>,
    /// For ranges.
    series: Series,
    wants_series: bool,
    asked_ms: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            objects: HashMap::new(),
            swept_ms: 0,
            depth_ms: SERIES_MS,
        }
    }
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
        let is_watched = subject.is_watched();
        let history = self.objects.entry(subject).or_default();
        history.asked_ms = now_ms;
        let is_ranged = ranges.iter().any(Option::is_some);
        history.wants_series |= is_ranged;
        history.take(values, now_ms, self.depth_ms);
        let mut samples = Vec::new();
        if is_ranged {
            samples = history.series.samples();
            // Where none follows that was taken after it, a step is as things are now.
            samples.push(Sample {
                at_ms: now_ms,
                values: values.into(),
            });
        }
        let details = values.iter().enumerate().map(|(at, value)| {
            let rate = history.rate(at, *value, now_ms);
            match ranges.get(at).copied().flatten() {
                Some(range) => details(&samples, at, rate, range, is_watched),
                None => Details {
                    rate,
                    ..Details::default()
                },
            }
        });
        details.collect()
    }

    /// Notes what the counts are now, though nobody asked: there will be samples when somebody does.
    pub fn watch(&mut self, subject: Subject, values: &[u64], now_ms: u64) {
        self.forget(now_ms);
        if self.objects.len() >= WATCHED_MAX && !self.objects.contains_key(&subject) {
            return;
        }
        let history = self.objects.entry(subject).or_default();
        history.wants_series = true;
        history.take(values, now_ms, self.depth_ms);
    }

    fn forget(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.swept_ms) < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        self.fit(now_ms);
        self.objects.retain(|_, it| {
            let is_asked_for = now_ms.saturating_sub(it.asked_ms) < FORGET_MS;
            is_asked_for || it.series.last_ms().is_some()
        });
        self.objects.shrink_to_fit();
    }

    /// Keeps all samples together within [`SERIES_BYTES_MAX`]: with more that change, they go back less far.
    fn fit(&mut self, now_ms: u64) {
        let mut size = self.trim(now_ms);
        if size < SERIES_BYTES_MAX / 4 {
            self.depth_ms = (self.depth_ms * 2).min(SERIES_MS);
        }
        while size > SERIES_BYTES_MAX && self.depth_ms > DEPTH_MS_MIN {
            self.depth_ms /= 2;
            size = self.trim(now_ms);
        }
    }

    fn trim(&mut self, now_ms: u64) -> usize {
        let first_ms = now_ms.saturating_sub(self.depth_ms);
        let all = self.objects.values_mut().map(|history| {
            history.series.forget_before(first_ms);
            history.series.size()
        });
        all.sum()
    }
}

impl Subject {
    /// Whether samples are taken of it also while nobody asks, whenever it changes.
    fn is_watched(&self) -> bool {
        matches!(self, Subject::Overview(None) | Subject::Queue(_))
    }
}

impl History {
    fn take(&mut self, values: &[u64], now_ms: u64, depth_ms: u64) {
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
            let last_ms = self.series.last_ms();
            if last_ms.is_none_or(|last| now_ms.abs_diff(last) >= SERIES_STEP_MS) {
                self.series.push(now_ms, values);
            }
            self.series.forget_before(now_ms.saturating_sub(depth_ms));
        }
    }

    fn rate(&self, at: usize, value: u64, now_ms: u64) -> f64 {
        let base = self.base.as_ref();
        base.map_or(0.0, |base| {
            per_second(base.value(at), value, now_ms.saturating_sub(base.at_ms))
        })
    }
}

/// Samples stand at whole steps of time, the newest first, as far back as there are any. Each is what was found
/// first since: of what is watched, nothing changed until then.
fn details(samples: &[Sample], at: usize, rate: f64, range: Range, is_watched: bool) -> Details {
    let now_ms = samples.last().map_or(0, |it| it.at_ms);
    let newest_ms = now_ms - now_ms % range.step_ms;
    let steps = (range.age_ms / range.step_ms).min(SAMPLES_MAX);
    let times = (0..=steps).map(|step| newest_ms.saturating_sub(step * range.step_ms));
    let first_ms = samples.first().map_or(u64::MAX, |it| it.at_ms);
    let shown = times.filter_map(|timestamp| {
        let since = samples.partition_point(|it| it.at_ms < timestamp);
        let sample = samples.get(since)?;
        let is_near = sample.at_ms <= timestamp + range.step_ms;
        (is_near || is_watched && first_ms <= timestamp).then(|| ShownSample {
            sample: sample.value(at),
            timestamp,
        })
    });
    let shown: Vec<ShownSample> = shown.collect();
    let (avg_rate, avg) = averages(&shown);
    Details {
        rate,
        samples: Some(shown),
        avg_rate: Some(avg_rate),
        avg: Some(avg),
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
/// RabbitMQ keeps samples for so long (`basic`), and sums for longer.
const SERIES_MS: u64 = 3_600_000;
/// However little room there is.
const DEPTH_MS_MIN: u64 = 60_000;
const SERIES_BYTES_MAX: usize = 8 << 20;
/// With so many, others are sampled only while somebody looks at them.
const WATCHED_MAX: usize = 5_000;
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
    #[test]
    fn what_is_watched_has_samples_at_the_first_look_and_holds_still_between_them() {
        let mut rates = Rates::default();
        let queue = || Subject::Queue(1);
        for second in [0, 5, 10] {
            rates.watch(queue(), &[second], 1_000_000 + second * 1_000);
        }
        let range = Some(Range {
            age_ms: 60_000,
            step_ms: 5_000,
        });
        let seen = rates.note(queue(), &[12], &[range], 1_040_000);
        let samples = seen[0].samples.as_ref().unwrap();
        let values: Vec<_> = samples.iter().map(|it| it.sample).collect();
        assert_eq!(values, [12, 12, 12, 12, 12, 12, 10, 5, 0, 0]);
        // It is remembered for as long as its samples are.
        rates.note(Subject::Node, &[1], &[], 1_040_000 + SERIES_MS - SWEEP_MS);
        assert!(rates.objects.contains_key(&queue()));
        rates.note(Subject::Node, &[1], &[], 1_050_000 + SERIES_MS);
        assert!(!rates.objects.contains_key(&queue()));
    }

    #[test]
    fn samples_of_many_objects_go_back_less_far() {
        let mut rates = Rates::default();
        let mut values = [0; 12];
        for round in 1..=100_u64 {
            values.iter_mut().for_each(|it| *it += 1 << 40);
            for queue in 0..2_000 {
                rates.watch(Subject::Queue(queue), &values, round * 5_000);
            }
        }
        let size: usize = rates.objects.values().map(|it| it.series.size()).sum();
        assert!(size < SERIES_BYTES_MAX * 2, "{size}");
        assert!(rates.depth_ms < SERIES_MS / 2);
        assert_eq!(rates.objects.len(), 2_000);
    }
}
