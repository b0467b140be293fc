//! Plots as SVG: named lines over a logarithmic or a linear axis.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;
const COLOURS: [&str; 4] = ["#1b6ca8", "#c8553d", "#588b40", "#7d5ba6"];

/// The most labels of the horizontal axis; a plot with more points has evenly spaced labels instead.
const X_LABELS_MAX: usize = 12;

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The name of its file, without extension.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The label of the horizontal axis.
    pub x_label: String,
    /// The label of the vertical axis.
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic.
    pub is_x_logarithmic: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// The name that stands at its end.
    pub name: String,
    /// Its points, by ascending x.
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// The plot as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let of_x = |x: f64| if self.is_x_logarithmic { x.max(1e-9).log10() } else { x };
        let first = points().map(|(x, _)| of_x(x)).fold(f64::INFINITY, f64::min);
        let last = points().map(|(x, _)| of_x(x)).fold(f64::NEG_INFINITY, f64::max);
        let top = points().map(|(_, y)| y).fold(0.0, f64::max) * 1.1;
        let x_at = |x: f64| LEFT + (of_x(x) - first) / (last - first).max(1e-9) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - y / top.max(1e-9) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
        };
        text(LEFT, 18.0, "start", &self.title);
        text(LEFT, 32.0, "start", &self.y_label);
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0, "middle", &self.x_label);
        let mut ticks: Vec<f64> = points().map(|(x, _)| x).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        if ticks.len() > X_LABELS_MAX {
            let last = ticks.last().copied().unwrap_or_default();
            ticks = (0..=5).map(|step| last * f64::from(step) / 5.0).filter(|x| of_x(*x) >= first).collect();
        }
        for x in ticks {
            text(x_at(x), HEIGHT - BOTTOM + 18.0, "middle", &number(x));
        }
        for step in 0..=4 {
            let y = top * f64::from(step) / 4.0;
            text(LEFT - 6.0, y_at(y) + 4.0, "end", &number(y));
        }
        for (line, place) in self.lines.iter().zip(1..) {
            if let Some((x, y)) = line.points.last() {
                text(x_at(*x) + 8.0, y_at(*y) + 4.0 * f64::from(place), "start", &line.name);
            }
        }
        for step in 0..=4 {
            let y = y_at(top * f64::from(step) / 4.0);
            let right = WIDTH - RIGHT;
            let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>");
        }
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let path: Vec<_> = line.points.iter().map(|(x, y)| format!("{:.1} {:.1}", x_at(*x), y_at(*y))).collect();
            let path = path.join("L");
            let _ = writeln!(svg, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
        svg + "</svg>\n"
    }
}

/// A number with three significant digits, or all digits of its integer part if it has more.
#[must_use]
pub fn number(number: f64) -> String {
    let size = number.abs();
    let decimals =
        [(100.0, 0), (10.0, 1), (1.0, 2)].iter().find(|(bound, _)| size >= *bound).map_or(3, |found| found.1);
    let text = format!("{number:.decimals$}");
    if size < 10_000.0 {
        return text;
    }
    let groups: Vec<&[u8]> = text.as_bytes().rchunks(3).rev().collect();
    groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits_or_all_integer_digits() {
        let shown = [0.0312, 1.234, 12.34, 123.4, 1234.0, 12345.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.031", "1.23", "12.3", "123", "1234", "12,346", "1,234,567"]);
    }

    #[test]
    fn a_line_spans_the_plot() {
        let line = Line { name: "ours".into(), points: vec![(1e3, 5.0), (1e7, 10.0)] };
        let (title, label) = ("Cost".to_owned(), "keys".to_owned());
        let plot = Plot {
            name: "cost".into(),
            title,
            x_label: label,
            y_label: "µs".into(),
            is_x_logarithmic: true,
            lines: vec![line],
        };
        let svg = plot.svg();
        assert!(svg.contains("d=\"M60.0 186.5L510.0 61.1\""), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }
}
