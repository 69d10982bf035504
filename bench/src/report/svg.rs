//! Charts in SVG: a frame with two axes, and marks in it. Colours come from the page's classes.

/// Space around the plot for labels.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
/// Grid lines of a linear axis, about.
const TICKS: f64 = 5.0;

/// A scale from values to a place on the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number that is at least `most`.
    pub(super) fn linear(most: f64) -> Self {
        let step = step(most);
        Self { from: 0.0, to: (most / step).ceil().max(1.0) * step, is_log: false }
    }

    /// From 0 to just `to`.
    pub(super) fn exact(to: f64) -> Self {
        Self { from: 0.0, to: if to > 0.0 { to } else { 1.0 }, is_log: false }
    }

    /// Logarithmic.
    pub(super) fn log(from: f64, to: f64) -> Self {
        Self { from, to: to.max(from * 1.01), is_log: true }
    }

    /// 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        part.clamp(0.0, 1.0)
    }

    /// Round values on a linear scale; 1, 2 and 5 times the powers of ten on a logarithmic one.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let first = self.from.log10().floor();
            let decades = (self.to / self.from).log10();
            let steps: &[f64] = if decades > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let powers = (0..20).map(|power| 10_f64.powf(first + f64::from(power)));
            let ticks = powers.flat_map(|power| steps.iter().map(move |step| step * power));
            return ticks.filter(|tick| (self.from * 0.999..=self.to * 1.001).contains(tick)).collect();
        }
        let step = step(self.to);
        (0..50).map(|count| f64::from(count) * step).take_while(|tick| *tick <= self.to * 1.001).collect()
    }
}

/// A round distance of grid lines.
fn step(most: f64) -> f64 {
    let rough = (most / TICKS).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= rough * 0.999).unwrap_or(power * 10.0)
}

/// A chart that is being drawn.
pub(super) struct Chart {
    out: String,
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
}

impl Chart {
    /// A frame with labels. `name` is what screen readers say.
    pub(super) fn new(
        name: &str,
        (width, height): (f64, f64),
        (x, x_ticks): (Scale, Vec<(f64, String)>),
        (y, y_ticks): (Scale, Vec<(f64, String)>),
    ) -> Self {
        let mut chart = Self { out: String::new(), width, height, x, y };
        chart.put(format_args!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#, escape(name)));
        for (value, label) in y_ticks {
            let (at, right) = (chart.y(value), width - RIGHT);
            chart.put(format_args!(r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/>"#));
            chart.put(format_args!(
                r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                at + 4.0,
                escape(&label)
            ));
        }
        for (value, label) in x_ticks {
            let (at, bottom) = (chart.x(value), height - BOTTOM);
            chart.put(format_args!(
                r#"<line class="tick" x1="{at:.1}" x2="{at:.1}" y1="{bottom}" y2="{}"/>"#,
                bottom + 4.0
            ));
            // The last label stays inside.
            let anchor = if at > width - RIGHT - 12.0 { "end" } else { "middle" };
            chart.put(format_args!(
                r#"<text x="{at:.1}" y="{}" text-anchor="{anchor}">{}</text>"#,
                bottom + 18.0,
                escape(&label)
            ));
        }
        chart
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out += &text.to_string();
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (self.width - LEFT - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.part(value) * (self.height - TOP - BOTTOM)
    }

    /// A line through points, with the area below it if `is_filled`.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)], is_filled: bool) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y))).collect();
        if let (true, Some(first), Some(last)) = (is_filled, points.first(), points.last()) {
            let (from, to, bottom) = (self.x(first.0), self.x(last.0), self.height - BOTTOM);
            let path = path.join(" ");
            self.put(format_args!(
                r#"<polygon class="area {class}" points="{from:.1},{bottom} {path} {to:.1},{bottom}"/>"#
            ));
        }
        self.put(format_args!(r#"<polyline class="line {class}" points="{}"/>"#, path.join(" ")));
    }

    /// An invisible column that shows `text` under the pointer.
    pub(super) fn hint(&mut self, from: f64, to: f64, text: &str) {
        let (left, width) = (self.x(from), (self.x(to) - self.x(from)).max(1.0));
        let height = self.height - TOP - BOTTOM;
        let text = escape(text);
        self.put(format_args!(
            r#"<rect class="hint" x="{left:.1}" y="{TOP}" width="{width:.1}" height="{height}"><title>{text}</title></rect>"#
        ));
    }

    /// A filled cell; `strength` from 0 to 1.
    pub(super) fn cell(&mut self, (from_x, to_x): (f64, f64), (from_y, to_y): (f64, f64), strength: f64, text: &str) {
        let (left, top) = (self.x(from_x), self.y(to_y));
        let (width, height) = (self.x(to_x) - left + 0.3, self.y(from_y) - top + 0.3);
        let text = escape(text);
        self.put(format_args!(
            r#"<rect class="heat" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" fill-opacity="{strength:.2}"><title>{text}</title></rect>"#
        ));
    }

    pub(super) fn finish(mut self) -> String {
        let bottom = self.height - BOTTOM;
        let right = self.width - RIGHT;
        self.put(format_args!(r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/></svg>"#));
        self.out
    }
}

/// Text that is safe between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::linear(23.0).ticks(), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!(Scale::linear(1_000.0).ticks().last(), Some(&1_000.0));
        assert_eq!(Scale::linear(0.0).ticks().len(), 2);
        assert_eq!(Scale::log(90.0, 2_000.0).ticks().len(), 5);
        assert!(Scale::exact(0.7).ticks().len() > 3);
    }

    #[test]
    fn values_outside_stay_in_the_frame() {
        let chart = Chart::new("a", (500.0, 200.0), (Scale::exact(1.0), vec![]), (Scale::log(1.0, 10.0), vec![]));
        assert_eq!((chart.x(-1.0), chart.x(2.0)), (LEFT, 500.0 - RIGHT));
        assert_eq!((chart.y(0.0), chart.y(100.0)), (200.0 - BOTTOM, TOP));
    }
}
