//! Metrics that a job wrote: the line protocol of `$FETCHML_METRICS_FILE`
//! (docs/run-contract.md). The job chose every byte, so that nothing here trusts any.

use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// Longest line that is looked at, bytes.
const MAX_LINE: u64 = 64 * 1024;
/// Most different names.
const MAX_NAMES: usize = 1000;
/// Longest name, bytes.
const MAX_NAME: usize = 128;
/// Most points that are kept of one metric.
const MAX_POINTS: usize = 1_000_000;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    /// The job's own count; that of the line before plus one where the line has none.
    pub(crate) step: f64,
    /// The value; JSON has neither NaN nor infinities, so that they become null there.
    pub(crate) value: f64,
    /// Seconds since the epoch, where the line says.
    pub(crate) time: Option<f64>,
}

/// What a file of metrics says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metrics {
    /// By name, in the order in which they were written.
    pub(crate) points: BTreeMap<String, Vec<Point>>,
    /// Lines that are no metrics.
    pub(crate) strange_lines: u64,
    /// Values that were left out, beyond what is kept.
    pub(crate) left_out: u64,
}

/// Reads all of it.
pub(crate) fn read(mut file: impl BufRead) -> io::Result<Metrics> {
    let mut metrics = Metrics::default();
    let (mut line, mut step) = (Vec::new(), -1.0);
    loop {
        line.clear();
        let read = io::Read::take(&mut file, MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(metrics);
        }
        let whole = line.ends_with(b"\n");
        if !whole && !file.fill_buf()?.is_empty() {
            skip_line(&mut file)?;
            metrics.strange_lines += 1;
            continue;
        }
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let values = std::str::from_utf8(text).ok().and_then(values);
        match values.and_then(|values| metrics.take(values, step)) {
            Some(taken) => step = taken,
            // A job that runs may be in the middle of its last line.
            None if whole => metrics.strange_lines += 1,
            None => {}
        }
    }
}

fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        file.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Names and numbers of one line: a JSON object, or `name=value` separated by spaces.
fn values(line: &str) -> Option<Vec<(String, f64)>> {
    if line.starts_with('{') {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
        // Texts and nested things are no metrics, and no reason to lose the others.
        let numbers = object.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
        return Some(numbers.collect());
    }
    line.split_ascii_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

impl Metrics {
    /// Keeps the values of one line; answers with its step. A line whose step is no
    /// finite number is none: all that come after it would have that step.
    fn take(&mut self, values: Vec<(String, f64)>, last_step: f64) -> Option<f64> {
        let special =
            |wanted: &str| values.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let step = special("step").unwrap_or(last_step + 1.0);
        if !step.is_finite() {
            return None;
        }
        let time = special("time");
        for (name, value) in values {
            if matches!(name.as_str(), "step" | "time") {
                continue;
            }
            let known = self.points.contains_key(&name);
            if name.is_empty() || name.len() > MAX_NAME || !known && self.points.len() >= MAX_NAMES
            {
                self.left_out += 1;
                continue;
            }
            let points = self.points.entry(name).or_default();
            if points.len() >= MAX_POINTS {
                self.left_out += 1;
            } else {
                points.push(Point { step, value, time });
            }
        }
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Metrics {
        read(text).expect("it can be read")
    }

    fn points(metrics: &Metrics, name: &str) -> Vec<(f64, f64)> {
        metrics.points[name].iter().map(|point| (point.step, point.value)).collect()
    }

    #[test]
    fn both_forms_of_a_line_are_read() {
        let metrics =
            of(b"{\"step\": 10, \"loss\": 0.5, \"note\": \"x\"}\nloss=0.25 acc=1e-1\n# no\n");
        assert_eq!(points(&metrics, "loss"), [(10.0, 0.5), (11.0, 0.25)]);
        assert_eq!(points(&metrics, "acc"), [(11.0, 0.1)]);
        assert_eq!((metrics.points.len(), metrics.strange_lines), (2, 0));
    }

    #[test]
    fn what_is_no_metric_is_counted_and_costs_nothing_else() {
        let mut text = b"hello world\n{broken\nloss=1\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 300_000));
        text.extend(b"\nloss=2\n\xff\xfe=1\nloss=3");
        let metrics = of(&text);
        assert_eq!(points(&metrics, "loss"), [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]);
        assert_eq!(metrics.strange_lines, 4);
        assert_eq!(of(b"loss=1\nlo").strange_lines, 0, "a line that is being written");
    }

    #[test]
    fn a_step_that_is_no_finite_number_moves_no_other() {
        let metrics = of(b"loss=3\nstep=-1e400 loss=2\nstep=nan loss=1\nstep=inf\nloss=0\n");
        assert_eq!(points(&metrics, "loss"), [(0.0, 3.0), (1.0, 0.0)]);
        assert_eq!(metrics.strange_lines, 3);
    }

    #[test]
    fn a_job_cannot_fill_the_memory_with_names() {
        let text: String = (0..3000).map(|n| format!("m{n}=1\n")).collect();
        let metrics = of(text.as_bytes());
        assert_eq!((metrics.points.len(), metrics.left_out), (MAX_NAMES, 2000));
    }
}
