//! What the supervisor found on this machine, for `doctor`.

use super::Host;
use serde::Serialize;

/// One fact about the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Short name.
    pub name: String,
    /// `ok`, `partial` or `missing`.
    pub state: String,
    /// What exactly was found.
    pub detail: String,
    /// What to do about it, when something can be done.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(name: &str, state: &str, detail: impl Into<String>, remedy: Option<&str>) -> Self {
        Self {
            name: name.into(),
            state: state.into(),
            detail: detail.into(),
            remedy: remedy.map(Into::into),
        }
    }
}

impl Host {
    /// The facts that decide what a job can be given.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let cgroups = match self.cgroups_description() {
            Ok(detail) => Finding::new("cgroups", "ok", detail, None),
            Err(detail) => {
                let remedy = "limits of memory and cpus are refused here; to have them, "
                    .to_owned()
                    + self.cgroups().remedy();
                Finding::new("cgroups", "partial", detail, Some(&remedy))
            }
        };
        let level = self.landlock().level();
        let layer = self.landlock().layer(level > 0);
        let landlock = match level {
            0 => Finding::new(
                "landlock",
                "missing",
                layer.detail,
                Some("boot a kernel with Landlock and `landlock` in the lsm= list"),
            ),
            1..6 => Finding::new(
                "landlock",
                "partial",
                layer.detail,
                Some("a newer kernel has more of it; jobs run and say what was missing"),
            ),
            _ => Finding::new("landlock", "ok", layer.detail, None),
        };
        let launcher = Finding::new(
            "launcher",
            "ok",
            "namespaces, id maps and the agent's image are prepared",
            None,
        );
        vec![launcher, cgroups, landlock]
    }
}
