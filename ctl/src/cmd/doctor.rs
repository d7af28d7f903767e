//! `doctor`: can this machine hold a sandbox? What can be seen from here, and
//! on top of it what the supervisor found, which knows better.

use crate::connect::Target;
use crate::context::Context;
use crate::error::Result;
use crate::host;
use crate::view::doctor::{Finding, State, table};

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let mut findings = host::findings();
    let target = context.link.target();
    // Looking must not start anything, so a private supervisor is asked only when it runs.
    let (supervisor, more) = match target.connect_running().await {
        Ok(supervisor) => match supervisor.manager.describe_host().await {
            Ok(text) => (Finding::good("supervisor", "answers"), text),
            Err(error) => {
                (Finding::bad("supervisor", error.to_string(), "see its log"), String::new())
            }
        },
        Err(_) => (absent(target), String::new()),
    };
    for finding in serde_json::from_str::<Vec<Finding>>(&more).unwrap_or_default() {
        match findings.iter_mut().find(|f| f.name == finding.name) {
            Some(known) => *known = finding,
            None => findings.push(finding),
        }
    }
    findings.push(supervisor);
    if context.json {
        context.print_json(&serde_json::to_string(&findings).unwrap_or_default())?;
    } else {
        context.print(&table(&findings, context.width, context.style))?;
    }
    Ok(u8::from(findings.iter().any(|f| f.state() == State::Missing)))
}

fn absent(target: &Target) -> Finding {
    match target {
        Target::System => Finding::partial(
            "supervisor",
            "the service does not answer",
            "systemctl start fetchmld, or use fetchmlctl --private as root",
        ),
        Target::Private(dir) => Finding::good(
            "supervisor",
            format!("none runs in {}; one is started when needed", dir.display()),
        ),
    }
}
