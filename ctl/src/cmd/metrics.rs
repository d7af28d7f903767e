//! `metrics`: what a job said of itself in `$FETCHML_METRICS_FILE`, read from its
//! output directory as any file of it.

use super::outputs::open_below;
use crate::cli::Metrics;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::{metrics, reference, view};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

/// So much of it is read, bytes: a job can make a file of any length without writing it.
const MAX_FILE: u64 = 1 << 30;
/// The file's name below `/outputs`.
const FILE: &str = "metrics.jsonl";

pub(crate) async fn run(context: &Context, asked: &Metrics) -> Result<u8> {
    let id = reference::resolve_one(&context.link, &asked.job).await?;
    let root = context.link.open_directory(id, false).await?;
    let failed = |e: &std::io::Error| Failure::io("cannot read the metrics of job", id, e);
    // Opening a pipe for reading would wait for a writer.
    let opened = open_below(root.as_fd(), Path::new(FILE), OFlags::RDONLY | OFlags::NONBLOCK);
    let file = match opened {
        Ok(file) => File::from(file),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::no(format!("job {id} has reported no metrics")).hint(
                "a job reports by appending lines such as `step=3 loss=0.25` to the file \
                 $FETCHML_METRICS_FILE",
            ));
        }
        Err(e) => return Err(failed(&e)),
    };
    let found = file.metadata().map_err(|e| failed(&e))?;
    let length = found.len();
    if !found.is_file() {
        return Err(Failure::no(format!("the metrics of job {id} are no regular file")));
    }
    let mut found = metrics::read(BufReader::new(file.take(MAX_FILE))).map_err(|e| failed(&e))?;
    if let Some(name) = &asked.name {
        let Some(points) = found.points.remove(name) else {
            let known: Vec<&str> = found.points.keys().map(String::as_str).collect();
            return Err(Failure::no(format!("job {id} has no metric {name:?}"))
                .hint(format!("it has {}", view::text::visible(&known.join(", ")))));
        };
        found.points = [(name.clone(), points)].into();
    }
    if context.json {
        let text = view::metrics::json(fetchml_api::job::JobId(id), &found);
        context.print_json(&text.map_err(|e| Failure::no(format!("cannot write JSON: {e}")))?)?;
    } else {
        let text = match asked.name.as_ref().and_then(|name| found.points.get(name)) {
            Some(points) => view::metrics::points(points, context.width, context.style),
            None => view::metrics::summary(&found, context.width, context.style),
        };
        context.print(&text)?;
    }
    if found.strange_lines > 0 {
        context.tell(&match found.strange_lines {
            1 => "1 line of the file is no metric".to_owned(),
            count => format!("{count} lines of the file are no metrics"),
        });
    }
    if length > MAX_FILE {
        context
            .tell(&format_args!("only the first GiB of the file was read: it has {length} bytes"));
    }
    if found.left_out > 0 {
        context.tell(&format_args!("{} values were left out: too many", found.left_out));
    }
    Ok(0)
}
