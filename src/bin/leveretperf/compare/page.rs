//! The page: everything in one file, readable in light and dark, on a screen and on a phone.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Comparison;
use super::cases::{LATENCY, SIZES};
use super::chart::{Dots, Lines, Series};
use crate::client::failure::{Failure, Result};
use crate::outcome::{BROKER_CPU, DELIVERIES};
use crate::report::{cell, median, number};

pub fn write(comparison: &Comparison, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, page(comparison))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn page(comparison: &Comparison) -> String {
    let title = escaped(&title(comparison));
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style><main>\
         <h1>{title}</h1><p class=note>{}</p>",
        circumstances(comparison)
    );
    tiles(comparison, &mut out);
    legend(comparison, &mut out);
    out.push_str("<div class=charts>");
    figure(
        &mut out,
        "Latency, from the intended time of sending, at 10,000 messages a second",
        &latency_chart(comparison),
    );
    figure(
        &mut out,
        "Messages a second, by message size",
        &size_chart(comparison),
    );
    figure(
        &mut out,
        "Processor time of the broker for each message, call, connection",
        &cost_chart(comparison),
    );
    out.push_str("</div>");
    table(comparison, &mut out);
    let _ = write!(out, "<p class=note>{EXPLANATION}</p></main></html>");
    out
}

fn title(comparison: &Comparison) -> String {
    let targets = comparison.targets.iter().enumerate();
    let brokers = targets.filter(|(index, _)| !comparison.is_relay[*index]);
    let mut names = brokers.map(|(_, name)| name.as_str());
    let first = names.next().unwrap_or_default();
    match names.collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => format!("{first} and the machine's limit"),
        others => format!("{first} beside {others}"),
    }
}

fn circumstances(comparison: &Comparison) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor"));
    let rounds = match comparison.rounds {
        0 | 1 => "one round".to_owned(),
        more => format!("medians of {more} rounds"),
    };
    let text = format!(
        "{}, {} × {}, Linux {}, loopback, load {} at the start, {rounds}",
        today(),
        cores.count(),
        model.trim(),
        kernel.trim(),
        comparison.load_before
    );
    escaped(&text)
}

/// What matters most, in a few large numbers.
fn tiles(comparison: &Comparison, out: &mut String) {
    let wanted = [
        (
            SIZES[1].0,
            BROKER_CPU,
            "µs of processor for a message of 100 bytes",
        ),
        ("confirm-ack", BROKER_CPU, "µs with confirms and acks"),
        (
            LATENCY,
            "p99 us",
            "µs latency, 99 of 100, at 10,000 a second",
        ),
        (super::idle::NAME, "idle resident MiB", "MiB when idle"),
    ];
    out.push_str("<div class=tiles>");
    for (case, figure, what) in wanted {
        let of = |target| comparison.report.median(case, figure, target);
        let Some(first) = of(0) else {
            continue;
        };
        let _ = write!(
            out,
            "<div class=tile><b>{}</b><span>{what}</span>",
            number(first)
        );
        for (target, name) in comparison.targets.iter().enumerate().skip(1) {
            if let Some(other) = of(target) {
                let _ = write!(out, "<small>{}: {}</small>", escaped(name), number(other));
            }
        }
        out.push_str("</div>");
    }
    out.push_str("</div>");
}

fn legend(comparison: &Comparison, out: &mut String) {
    out.push_str("<p class=legend>");
    for (index, name) in comparison.targets.iter().enumerate() {
        let colour = comparison.colour(index);
        let _ = write!(out, "<span><i class=c{colour}></i>{}</span>", escaped(name));
    }
    out.push_str("</p>");
}

fn figure(out: &mut String, title: &str, chart: &str) {
    let _ = write!(
        out,
        "<figure><figcaption>{title}</figcaption>{chart}</figure>"
    );
}

/// The further to the right, the rarer: each mark is ten times as rare as the one before.
fn latency_chart(comparison: &Comparison) -> String {
    let taken = comparison.latencies.iter().enumerate();
    let series: Vec<_> = taken
        .filter_map(|(index, latencies)| {
            let latencies = latencies
                .as_ref()
                .filter(|latencies| latencies.count() > 0)?;
            let points = (0..=LATENCY_POINTS).map(|step| {
                let x = f64::from(step) / f64::from(LATENCY_POINTS);
                (x, latencies.at(1.0 - 10f64.powf(-NINES * x)))
            });
            Some(Series {
                name: escaped(&comparison.targets[index]),
                colour: comparison.colour(index),
                points: points.collect(),
            })
        })
        .collect();
    let ticks = [
        (0.0, "0"),
        (0.25, "90 %"),
        (0.5, "99 %"),
        (0.75, "99.9 %"),
        (1.0, "99.99 %"),
    ];
    Lines {
        series: &series,
        x_ticks: &ticks.map(|(x, text)| (x, text.to_owned())),
        x_label: "so many of the messages took no longer",
        y_label: "µs",
    }
    .svg()
}

fn size_chart(comparison: &Comparison) -> String {
    let x_of = |size: usize| (size as f64 / 16.0).log2() / 16.0;
    let targets = comparison.targets.iter().enumerate();
    let series = targets.map(|(index, name)| Series {
        name: escaped(name),
        colour: comparison.colour(index),
        points: SIZES
            .iter()
            .filter_map(|&(case, size)| {
                let rate = comparison.report.median(case, DELIVERIES, index)?;
                Some((x_of(size), rate))
            })
            .collect(),
    });
    let ticks = SIZES.map(|(_, size)| (x_of(size), size_text(size)));
    Lines {
        series: &series.collect::<Vec<_>>(),
        x_ticks: &ticks,
        x_label: "bytes of a message",
        y_label: "messages a second",
    }
    .svg()
}

fn cost_chart(comparison: &Comparison) -> String {
    let rows = comparison.cases.iter().filter_map(|case| {
        let targets = 0..comparison.targets.len();
        let values: Vec<_> = targets
            .map(|target| comparison.report.median(case.name, BROKER_CPU, target))
            .collect();
        let is_known = values.iter().any(Option::is_some);
        is_known.then(|| (escaped(case.title), values))
    });
    Dots {
        rows: &rows.collect::<Vec<_>>(),
        names: &comparison.targets,
        colours: &(0..comparison.targets.len())
            .map(|index| comparison.colour(index))
            .collect::<Vec<_>>(),
        x_label: "µs",
    }
    .svg()
}

fn table(comparison: &Comparison, out: &mut String) {
    let names = &comparison.targets;
    out.push_str("<h2>All figures</h2><div class=scroll><table><thead><tr><th>");
    for name in names {
        let _ = write!(out, "<th>{}", escaped(name));
    }
    for name in &names[1..] {
        let _ = write!(out, "<th>× {}", escaped(name));
    }
    out.push_str("<tbody>");
    let columns = 2 * names.len();
    let mut scenario = "";
    for row in comparison.report.rows() {
        if row.scenario != scenario {
            scenario = row.scenario;
            let case = comparison.cases.iter().find(|case| case.name == scenario);
            let title = case.map_or("idle, before anything else", |case| case.title);
            let _ = write!(
                out,
                "<tr class=head><th colspan={columns}>{}",
                escaped(title)
            );
        }
        let _ = write!(out, "<tr><th>{}", figure_name(row.figure));
        for values in &row.values {
            let _ = write!(out, "<td>{}", cell(values));
        }
        for other in &row.values[1..] {
            let other = median(other).filter(|other| *other != 0.0);
            let ratio = median(&row.values[0]).zip(other);
            let text = ratio.map_or("-".to_owned(), |(first, other)| number(first / other));
            let _ = write!(out, "<td>{text}");
        }
    }
    out.push_str("</table></div>");
}

/// The day, as 2026-01-31.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_secs() / 86_400) as i64;
    // Days from civil, run backwards: years begin in March, so that leap days come last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// With the unit as it is written where there are more letters than on a terminal.
fn figure_name(name: &str) -> String {
    let words = name
        .split(' ')
        .map(|word| if word == "us" { "µs" } else { word });
    escaped(&words.collect::<Vec<_>>().join(" "))
}

fn size_text(size: usize) -> String {
    match size {
        small if small < 1 << 10 => small.to_string(),
        some if some < 1 << 20 => format!("{} Ki", some >> 10),
        many => format!("{} Mi", many >> 20),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

const LATENCY_POINTS: u32 = 120;
/// The latency chart ends at 99.99 %.
const NINES: f64 = 4.0;
const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#646a73;--rule:#e3e5e8;\
--c0:#2466d1;--c1:#cf5f1b;--c2:#1c8a5f;--c3:#7b7f87;--c4:#9a4fb5}\
@media(prefers-color-scheme:dark){:root{--ground:#131518;--card:#1b1e22;--ink:#e8eaed;--soft:#9aa1ab;--rule:#2e3238;\
--c0:#74a9ff;--c1:#ff9a5a;--c2:#5fd0a0;--c3:#a2a8b0;--c4:#d08be6}}\
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);\
font:16px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif}\
main{max-width:1120px;margin:0 auto;padding:20px 16px 48px}h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.15rem;margin:1.6em 0 .5em}\
.note{color:var(--soft);font-size:.88rem;max-width:75ch}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0}\
.tile{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 14px}\
.tile b{display:block;font-size:1.7rem;line-height:1.2;color:var(--c0)}.tile span{display:block;font-size:.86rem;min-height:2.5em}\
.tile small{display:block;color:var(--soft);font-variant-numeric:tabular-nums}\
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;font-size:.92rem;margin:14px 0}\
.legend i{display:inline-block;width:12px;height:12px;border-radius:50%;margin-right:6px;vertical-align:-1px}\
.charts{columns:2 380px;column-gap:14px}\
figure{break-inside:avoid;margin:0 0 14px;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px}\
figcaption{font-weight:600;font-size:.95rem;margin-bottom:6px}svg{display:block;width:100%;height:auto}\
svg text{font-size:11px;fill:var(--soft)}svg .name{fill:var(--ink);font-size:11.5px}\
.grid{stroke:var(--rule);stroke-width:1}.span{stroke:var(--soft);stroke-width:1;opacity:.5}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}.dot{stroke:var(--card);stroke-width:1.5}\
i.c0{background:var(--c0)}i.c1{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}i.c4{background:var(--c4)}\
.dot.c0{fill:var(--c0)}.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}.dot.c3{fill:var(--c3)}.dot.c4{fill:var(--c4)}\
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}\
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:10px}\
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}\
th,td{padding:5px 12px;text-align:right;white-space:nowrap}tbody th,thead th:first-child{text-align:left;font-weight:400}\
thead th{border-bottom:1px solid var(--rule)}tbody th{position:sticky;left:0;background:var(--card)}.head th{font-weight:600;padding-top:14px;border-top:1px solid var(--rule);white-space:normal}";
const EXPLANATION: &str = "\
Every message was numbered and checked: none was lost, came twice or out of order, or the run would have failed. The \
relay is a process that passes the same bytes on without reading them: the machine's own limit. Processor time is \
the broker's own, user and system, from /proc; rates depend on the machine, and on how many processors a broker uses. \
Latency counts from the time at which a message was to be sent, so that a broker which holds its publisher up \
is charged for it. ± is half the range of the rounds.";
