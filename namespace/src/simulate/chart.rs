//! Costs over time as a picture: SVG, by hand, since it is four lines.

use std::fmt::Write as _;

use super::{LIFECYCLE, Outcome, Report};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 360.0;
const EDGE: f64 = 50.0;
const COLORS: [&str; 3] = ["#0a7", "#c52", "#888"];

/// Costs of four weeks each: of `auto`, of the best fixed rule, and of the usual one.
pub fn svg(report: &Report) -> String {
    let usual = report.fixed.iter().find(|outcome| outcome.name == LIFECYCLE);
    let lines: Vec<&Outcome> = [Some(&report.auto), report.best(), usual].into_iter().flatten().collect();
    let most = lines.iter().flat_map(|line| &line.over_time).copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{EDGE}\" y=\"20\">cost of four weeks, at most {most:.4}</text>\n"
    );
    for ((at, line), color) in lines.iter().enumerate().zip(COLORS) {
        let steps = line.over_time.len().saturating_sub(1).max(1) as f64;
        let point = |(at, cost): (usize, &f64)| {
            let x = EDGE + at as f64 / steps * (WIDTH - 2.0 * EDGE);
            let y = HEIGHT - EDGE - cost / most * (HEIGHT - 2.0 * EDGE);
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = line.over_time.iter().enumerate().map(point).collect();
        let (y, name) = (HEIGHT - 28.0 + 14.0 * at as f64 - 8.0, escaped(&line.name));
        let drawn = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"{}\"/>\n\
             <text x=\"{EDGE}\" y=\"{y}\" fill=\"{color}\">{name}: {:.4}</text>",
            points.join(" "),
            line.total
        );
        drawn.expect("text takes all");
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
