//! Charts as SVG text: lines and dots on logarithmic axes, narrow enough for a phone. Colours are the page's.

use std::fmt::Write;

use crate::report::number;

/// One target's points. The number picks its colour.
pub struct Series {
    pub name: String,
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic y axis.
pub struct Lines<'a> {
    pub series: &'a [Series],
    /// Where on the x axis (0 to 1) there is a mark, and what it says.
    pub x_ticks: &'a [(f64, String)],
    pub x_label: &'a str,
    pub y_label: &'a str,
}

/// A row of dots for each case over a logarithmic x axis.
pub struct Dots<'a> {
    /// Per row its name, and by target a value.
    pub rows: &'a [(String, Vec<Option<f64>>)],
    pub names: &'a [String],
    pub colours: &'a [usize],
    pub x_label: &'a str,
}

/// A logarithmic axis of whole decades.
struct Scale {
    least: f64,
    most: f64,
}

impl Lines<'_> {
    /// Points have x from 0 to 1.
    pub fn svg(&self) -> String {
        let values = self.series.iter().flat_map(|series| &series.points);
        let Some(scale) = Scale::around(values.map(|&(_, y)| y)) else {
            return NOTHING.to_owned();
        };
        let (width, height) = (WIDTH - LEFT - RIGHT, LINES_HEIGHT - TOP - BOTTOM);
        let x_at = |x: f64| LEFT + x * width;
        let y_at = |y: f64| TOP + height - scale.share(y) * height;
        let mut out = begin(LINES_HEIGHT, self.y_label);
        for tick in scale.ticks() {
            let (y, text) = (y_at(tick), short(tick));
            let _ = write!(
                out,
                "<line class=grid x1={LEFT} x2={} y1={y:.1} y2={y:.1} /><text x={} y={:.1} text-anchor=end>{text}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                y + 4.0
            );
        }
        for (x, text) in self.x_ticks {
            let anchor = if *x > 0.97 { "end" } else { "middle" };
            let _ = write!(
                out,
                "<text x={:.1} y={} text-anchor={anchor}>{text}</text>",
                x_at(*x),
                LINES_HEIGHT - BOTTOM + 16.0
            );
        }
        let _ = write!(
            out,
            "<text x={:.1} y={} text-anchor=middle>{}</text><text x=0 y=11>{}</text>",
            x_at(0.5),
            LINES_HEIGHT - 4.0,
            self.x_label,
            self.y_label
        );
        for series in self.series {
            let points = series.points.iter();
            let path: Vec<_> = points
                .map(|&(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y)))
                .collect();
            let _ = write!(
                out,
                "<polyline class=\"line c{}\" points=\"{}\"><title>{}</title></polyline>",
                series.colour,
                path.join(" "),
                series.name
            );
            if series.points.len() < MARKS_MAX {
                for &(x, y) in &series.points {
                    let title = format!("{}: {}", series.name, number(y));
                    dot(&mut out, (x_at(x), y_at(y)), series.colour, &title);
                }
            }
        }
        out.push_str("</svg>");
        out
    }
}

impl Dots<'_> {
    pub fn svg(&self) -> String {
        let values = self
            .rows
            .iter()
            .flat_map(|(_, values)| values.iter().flatten());
        let Some(scale) = Scale::around(values.copied()) else {
            return NOTHING.to_owned();
        };
        let width = WIDTH - 2.0 * DOTS_MARGIN;
        let height = self.rows.len() as f64 * ROW + TOP + BOTTOM;
        let x_at = |value: f64| DOTS_MARGIN + scale.share(value) * width;
        let mut out = begin(height, self.x_label);
        for tick in scale.ticks() {
            let x = x_at(tick);
            let _ = write!(
                out,
                "<line class=grid x1={x:.1} x2={x:.1} y1={} y2={} /><text x={x:.1} y={} text-anchor=middle>{}</text>",
                TOP - 8.0,
                height - BOTTOM,
                height - BOTTOM + 16.0,
                short(tick)
            );
        }
        for (index, (name, values)) in self.rows.iter().enumerate() {
            let y = TOP + index as f64 * ROW + ROW - 9.0;
            let _ = write!(
                out,
                "<text x={DOTS_MARGIN} y={:.1} class=name>{name}</text>",
                y - 11.0
            );
            let known = || values.iter().flatten().copied();
            let (least, most) = (
                known().fold(f64::MAX, f64::min),
                known().fold(0.0, f64::max),
            );
            if most > 0.0 {
                let _ = write!(
                    out,
                    "<line class=span x1={:.1} x2={:.1} y1={y:.1} y2={y:.1} />",
                    x_at(least),
                    x_at(most)
                );
            }
            for (target, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    let title = format!("{}: {}", self.names[target], number(*value));
                    dot(&mut out, (x_at(*value), y), self.colours[target], &title);
                }
            }
        }
        let _ = write!(
            out,
            "<text x={} y={} text-anchor=middle>{}</text></svg>",
            WIDTH / 2.0,
            height - 4.0,
            self.x_label
        );
        out
    }
}

impl Scale {
    fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let sound = values.filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) = sound.fold((f64::MAX, 0.0f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        (most > 0.0).then(|| {
            let least = least.log10().floor();
            Scale {
                least,
                most: most.log10().ceil().max(least + 1.0),
            }
        })
    }

    fn share(&self, value: f64) -> f64 {
        ((value.max(1e-9).log10() - self.least) / (self.most - self.least)).clamp(0.0, 1.0)
    }

    /// Whole decades, and what is between them where there are few.
    fn ticks(&self) -> Vec<f64> {
        let between: &[f64] = match self.most - self.least {
            span if span <= 2.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let decades = self.least as i32..=self.most as i32;
        let ticks =
            decades.flat_map(|decade| between.iter().map(move |step| step * 10f64.powi(decade)));
        ticks
            .filter(|tick| tick.log10() <= self.most + 1e-9)
            .collect()
    }
}

fn begin(height: f64, label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=img aria-label=\"{label}\">")
}

fn dot(out: &mut String, (x, y): (f64, f64), colour: usize, title: &str) {
    let _ = write!(
        out,
        "<circle class=\"dot c{colour}\" cx={x:.1} cy={y:.1} r=4.5><title>{title}</title></circle>"
    );
}

/// 0.01, 5, 20k, 1M.
fn short(value: f64) -> String {
    match value {
        small if small < 1e3 => format!("{}", (small * 1e6).round() / 1e6),
        some if some < 1e6 => format!("{}k", some / 1e3),
        many => format!("{}M", many / 1e6),
    }
}

const WIDTH: f64 = 360.0;
const LINES_HEIGHT: f64 = 260.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 38.0;
const DOTS_MARGIN: f64 = 12.0;
const ROW: f64 = 34.0;
/// A line of more points needs no dots.
const MARKS_MAX: usize = 20;
const NOTHING: &str = "<p class=note>Not measured.</p>";
