//! Metrics of a job, summed up or point by point.

use crate::metrics::{Metrics, Point};
use crate::view::style::Style;
use crate::view::table::{Cell, draw};
use crate::view::text::visible;
use fetchml_api::job::JobId;
use serde::Serialize;

/// `metrics --json`, version 1.
#[derive(Debug, Serialize)]
struct Document<'m> {
    version: u32,
    job: JobId,
    metrics: Vec<Metric<'m>>,
    strange_lines: u64,
    left_out: u64,
}

#[derive(Debug, Serialize)]
struct Metric<'m> {
    name: &'m str,
    count: usize,
    first: f64,
    last: f64,
    min: f64,
    max: f64,
    last_step: f64,
    points: &'m [Point],
}

impl<'m> Metric<'m> {
    fn of(name: &'m str, points: &'m [Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let values = || points.iter().map(|point| point.value);
        Some(Self {
            name,
            count: points.len(),
            first: first.value,
            last: last.value,
            // Both prefer anything to NaN.
            min: values().fold(f64::NAN, f64::min),
            max: values().fold(f64::NAN, f64::max),
            last_step: last.step,
            points,
        })
    }
}

/// Everything as JSON.
pub(crate) fn json(job: JobId, metrics: &Metrics) -> serde_json::Result<String> {
    let all = metrics.points.iter().filter_map(|(name, points)| Metric::of(name, points));
    serde_json::to_string(&Document {
        version: 1,
        job,
        metrics: all.collect(),
        strange_lines: metrics.strange_lines,
        left_out: metrics.left_out,
    })
}

/// A line a metric.
pub(crate) fn summary(metrics: &Metrics, width: Option<usize>, style: Style) -> String {
    let rows: Vec<Vec<Cell>> = metrics
        .points
        .iter()
        .filter_map(|(name, points)| Metric::of(name, points))
        .map(|metric| {
            let numbers = [metric.last, metric.min, metric.max, metric.first, metric.last_step];
            let mut row = vec![visible(metric.name).into(), metric.count.to_string().into()];
            row.extend(numbers.map(|value| Cell::from(number(value))));
            row
        })
        .collect();
    draw(&["METRIC", "POINTS", "LAST", "MIN", "MAX", "FIRST", "STEP"], &rows, width, style)
}

/// A line a point of one metric.
pub(crate) fn points(points: &[Point], width: Option<usize>, style: Style) -> String {
    let rows: Vec<Vec<Cell>> = points
        .iter()
        .map(|point| vec![number(point.step).into(), number(point.value).into()])
        .collect();
    draw(&["STEP", "VALUE"], &rows, width, style)
}

/// At most six digits: what a person compares.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.4e}");
    }
    let short = format!("{value:.6}");
    if short.contains('.') {
        short.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::read;

    #[test]
    fn a_metric_is_summed_up_in_a_line() {
        let metrics = read(&b"loss=2\nloss=0.5\nloss=0.25\nlr=1e-5\n"[..]).expect("read");
        assert_eq!(
            summary(&metrics, None, Style { colour: false }),
            "METRIC  POINTS  LAST       MIN        MAX        FIRST      STEP\n\
             loss    3       0.25       0.25       2          2          2\n\
             lr      1       1.0000e-5  1.0000e-5  1.0000e-5  1.0000e-5  3\n"
        );
        let json = json(JobId(7), &metrics).expect("JSON");
        assert!(json.starts_with(r#"{"version":1,"job":7,"metrics":[{"name":"loss","count":3,"#));
    }

    #[test]
    fn what_is_no_number_is_neither_least_nor_most() {
        let metrics = read(&b"loss=nan acc=nan\nloss=2\nloss=1 acc=nan\nloss=nan\n"[..]);
        assert_eq!(
            summary(&metrics.expect("read"), None, Style { colour: false }),
            "METRIC  POINTS  LAST  MIN  MAX  FIRST  STEP\n\
             acc     2       nan   nan  nan  nan    2\n\
             loss    4       nan   1    2    nan    3\n"
        );
    }

    #[test]
    fn a_name_cannot_colour_the_table() {
        let metrics = read(&b"{\"a\\u001b[2J\": 1}\n"[..]).expect("read");
        assert!(!summary(&metrics, None, Style { colour: false }).contains('\u{1b}'));
    }
}
