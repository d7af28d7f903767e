//! What a job of a profile would get here, without making one.

use super::Host;
use crate::launch::devices::Devices;
use fetchml_api::job::{JobSpec, Layer, LayerState};
use fetchml_policies::Profile;
use serde::Serialize;
use std::path::Path;

/// What a job of a profile would get on this machine.
#[derive(Debug, Default, Serialize)]
pub struct Preview {
    /// Host paths of the profile that are not there, and so not in the job's root.
    pub absent: Vec<String>,
    /// The layers of the sandbox, as far as they are the same for every job.
    pub layers: Vec<Layer>,
    /// Why a job of it would be refused here, in words.
    pub refused: Option<String>,
}

impl Host {
    /// The layers that machines differ in, the shown paths that this one lacks,
    /// and why it would refuse a job of the profile.
    #[must_use]
    pub fn preview(&self, profile: &Profile) -> Preview {
        let spec = JobSpec { profile: profile.name.clone(), ..JobSpec::plain(Vec::new()) };
        let lacking = |path: &&str| !Path::new(path).exists();
        let shown = profile.show.iter().map(|shown| shown.path.as_str());
        let mut layers =
            vec![self.landlock().layer(self.landlock().level() > 0), self.group_layer()];
        let devices = Devices::of_job(self.view(), &self.allotment(), &profile.devices, &[])
            .map(|devices| layers.extend(devices.layer()));
        Preview {
            absent: shown.filter(lacking).map(str::to_owned).collect(),
            layers,
            refused: self
                .check(&spec, profile, &[])
                .and(devices)
                .err()
                .map(|refusal| refusal.to_string()),
        }
    }

    fn group_layer(&self) -> Layer {
        let (state, detail) = match self.cgroups_description() {
            Ok(detail) => (LayerState::Held, detail),
            Err(why) => (LayerState::Partial, format!("process limit only: {why}")),
        };
        Layer { name: "limits".into(), state, detail }
    }
}
