//! `hold`, `release`, `priority` and what `dead` does to jobs: one change to many,
//! each told of.

use crate::context::Context;
use crate::error::Result;
use crate::link::{Change, Outcome};
use crate::reference;
use crate::say::say;
use serde_json::{Value, json};

pub(crate) async fn run(context: &Context, words: &[String], change: Change) -> Result<u8> {
    let ids = reference::resolve(&context.link, words).await?;
    let outcomes = context.link.change(&ids, change).await?;
    report(context, outcomes, change)
}

/// Says what became of each; the status is 1 when one of them failed.
pub(crate) fn report(context: &Context, outcomes: Vec<Outcome>, change: Change) -> Result<u8> {
    let done = match change {
        Change::Hold => "held".to_owned(),
        Change::Release => "released".to_owned(),
        Change::Priority(priority) => format!("now of priority {priority}"),
        Change::Requeue => "back in the queue".to_owned(),
        Change::Drop => "dropped from the dead-letter list".to_owned(),
    };
    let mut worst = 0;
    let mut good = Vec::new();
    let mut documents: Vec<Value> = Vec::new();
    for (id, outcome) in outcomes {
        match outcome {
            Ok(()) => {
                documents.push(json!({"job": id, "error": null}));
                good.push(id);
            }
            Err(failure) => {
                let failure = failure.about(context.link.target());
                documents.push(json!({
                    "job": id, "error": failure.bus_name(), "message": failure.what()
                }));
                say(&failure);
                worst = failure.status(false);
            }
        }
    }
    if context.json {
        context.print_json(&Value::from(documents).to_string())?;
    } else if let Some(jobs) = numbers(&good) {
        context.tell(&format_args!("{jobs}: {done}"));
    }
    Ok(worst)
}

/// `job 12` or `jobs 12-14, 20`, with what follows each other together.
pub(crate) fn numbers(ids: &[u64]) -> Option<String> {
    const SHOWN: usize = 8;
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for id in ids {
        match stretches.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => stretches.push((*id, *id)),
        }
    }
    let word = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let mut words: Vec<String> = stretches.iter().take(SHOWN).map(word).collect();
    if stretches.len() > SHOWN {
        words.push(format!("… ({} in all)", ids.len()));
    }
    match ids.len() {
        0 => None,
        1 => Some(format!("job {}", words.join(", "))),
        _ => Some(format!("jobs {}", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_together() {
        assert_eq!(numbers(&[]), None);
        assert_eq!(numbers(&[7]).as_deref(), Some("job 7"));
        assert_eq!(numbers(&[1, 2, 3, 9]).as_deref(), Some("jobs 1-3, 9"));
        let odd: Vec<u64> = (0..20).map(|n| n * 2).collect();
        assert!(numbers(&odd).is_some_and(|words| words.ends_with("14, … (20 in all)")));
    }
}
