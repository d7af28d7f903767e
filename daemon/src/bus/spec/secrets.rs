//! No secret in a specification: it is kept in the store, shown to whoever may see the
//! job, and in the arguments of a process for everybody.

use crate::bus::error::BusError;
use crate::config::Secrets;
use crate::engine::Settings;
use fetchml_api::job::JobSpec;
use fetchml_policies::secrets::Rules;
use std::collections::HashSet;
use std::sync::Arc;

/// Longer specifications are looked through off the loop, which takes up to some seconds
/// for the longest.
const LONG_BYTES: usize = 16 << 10;

/// Gives specifications back that have no secret in them; one that has is refused by key
/// and rule, and the value is never repeated.
pub(in crate::bus) async fn without_secrets(
    specs: Vec<JobSpec>,
    settings: Arc<Settings>,
) -> Result<Vec<JobSpec>, BusError> {
    let bytes: usize = specs.iter().map(JobSpec::text_bytes).sum();
    let look = move || {
        refuse_secrets(&specs, settings.library.secrets(), &settings.config.secrets).map(|()| specs)
    };
    if bytes <= LONG_BYTES {
        return look();
    }
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| BusError::failed(format!("looking for secrets: {error}")))?
}

fn refuse_secrets(specs: &[JobSpec], rules: &Rules, secrets: &Secrets) -> Result<(), BusError> {
    let mut judge = Judge { rules, secrets, passed: HashSet::new() };
    specs.iter().try_for_each(|spec| judge.spec(spec))
}

struct Judge<'a> {
    rules: &'a Rules,
    secrets: &'a Secrets,
    /// Names and values that are known to be good: the jobs of an array share most.
    passed: HashSet<(&'a str, &'a str)>,
}

impl<'a> Judge<'a> {
    fn spec(&mut self, spec: &'a JobSpec) -> Result<(), BusError> {
        for (name, value) in &spec.env {
            self.value(|| format!("env {name}"), name, value)?;
        }
        self.value(|| "name".to_owned(), "", &spec.name)?;
        self.value(|| "experiment".to_owned(), "", &spec.experiment)?;
        let mut option = "";
        for (index, word) in spec.command.iter().enumerate() {
            let place = || format!("argument {index} of command");
            if word.contains(char::is_whitespace) {
                self.text(place, word)?;
            } else {
                let pair = word.strip_prefix('-').and_then(|w| w.split_once('='));
                let (name, value) = pair.unwrap_or((option, word));
                self.value(place, name.trim_start_matches('-'), value)?;
            }
            option = word.strip_prefix("--").filter(|name| !name.contains('=')).unwrap_or("");
        }
        Ok(())
    }

    /// A program or other text: names are spelt out in it, or are no names.
    fn text(&mut self, place: impl Fn() -> String, text: &'a str) -> Result<(), BusError> {
        if self.passed.contains(&("", text)) {
            return Ok(());
        }
        for span in self.rules.scan_log(text.as_bytes()) {
            let part = text.get(span.start..span.end).unwrap_or_default();
            if !self.secrets.allow(part) && !self.secrets.allow(text) {
                return Err(refused(&place(), self.rules.id(span.rule)));
            }
        }
        self.passed.insert(("", text));
        Ok(())
    }

    fn value(
        &mut self,
        place: impl Fn() -> String,
        name: &'a str,
        value: &'a str,
    ) -> Result<(), BusError> {
        if self.passed.contains(&(name, value)) {
            return Ok(());
        }
        // What is allowed hides nothing beside it.
        for finding in self.rules.judge_value(name, value) {
            let part = value.get(finding.span.start..finding.span.end).unwrap_or_default();
            // The part first: of a long value with many of it, each is hashed by itself.
            if !self.secrets.allow(part) && !self.secrets.allow(value) {
                return Err(refused(&place(), self.rules.id(finding.span.rule)));
            }
        }
        self.passed.insert((name, value));
        Ok(())
    }
}

fn refused(place: &str, rule: &str) -> BusError {
    BusError::invalid(format!(
        "{place} holds a secret ({rule}): an administrator can keep it with `fetchmlctl secret add`, \
         and the job gets it with --secret or --secret-env; if it is none, an administrator can add \
         the digest of the value to secrets.allow_literal in fetchml.toml (printf %s VALUE | \
         sha256sum)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::digest;

    #[test]
    fn an_allowed_value_lets_no_other_pass_beside_it() {
        let rules = fetchml_policies::secrets::load::<&str>(&[]).expect("sound rules");
        let (known, other) = ("AKIAQ3EGZX7K2M4N5P6R", "AKIAZ7WD3QX5N8L1C4V2");
        let refusal = |value: &str, allowed: &[&str]| {
            let mut spec = JobSpec::plain(vec!["true".to_owned()]);
            spec.env.insert("NOTE".to_owned(), value.to_owned());
            let allow_literal = allowed.iter().map(|value| digest(value)).collect();
            refuse_secrets(&[spec], &rules, &Secrets { allow_literal }).err()
        };
        assert!(refusal(known, &[]).is_some());
        assert_eq!(refusal(known, &[known]), None);
        let both = format!("{known},{other}");
        for allowed in [known, other] {
            let refused = refusal(&both, &[allowed]).expect("the other is a secret");
            assert!(refused.message.contains("aws-access-key-id"), "{refused}");
        }
        assert_eq!(refusal(&both, &[known, other]), None);
        assert_eq!(refusal(&both, &[&both]), None);
    }
}
