//! `org.fetchml.FetchML1.Manager`. Documented in `fetchml_api::proxy`.

// zbus calls these through the interface it generates.
#![allow(clippy::used_underscore_binding)]

use super::door::{Door, is_interactive};
use super::error::BusError;
use super::{filter, objects, spec};
use crate::access::Caller;
use crate::engine::Scope;
use crate::engine::launcher::Part;
use fetchml_api::job::{JobDescription, JobId, JobSpec};
use fetchml_api::names::{MAX_SPEC_BYTES, job_path};
use std::collections::HashMap;
use std::time::Duration;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, OwnedObjectPath, OwnedVariant, interface};

/// How often a wait looks whether its caller on the bus is still there.
const CALLER_CHECK: Duration = Duration::from_secs(30);

type Filter = HashMap<String, OwnedVariant>;
type Row = (u64, u32, String, String, String, String, u64, OwnedObjectPath);

/// The manager as one connection sees it.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) door: Door,
}

#[interface(name = "org.fetchml.FetchML1.Manager", introspection_docs = false)]
impl Manager {
    #[zbus(out_args("id", "job"))]
    async fn submit_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        spec: HashMap<String, OwnedVariant>,
        mounts: Vec<(String, String, String, OwnedFd)>,
    ) -> Result<(u64, OwnedObjectPath), BusError> {
        let caller = self.door.caller(&header, connection).await?;
        let allowed = self.door.access().may_submit(&caller, is_interactive(&header)).await;
        if let Err(denied) = allowed {
            let words = denied.to_string();
            self.door.engine().record_denial(&caller, "submit", "job", &words).await;
            return Err(denied.into());
        }
        let size = usize::try_from(header.primary().body_len()).unwrap_or(usize::MAX);
        if size > MAX_SPEC_BYTES {
            return Err(BusError::invalid(format!(
                "the specification has {size} bytes, the most is {MAX_SPEC_BYTES}: \
                 pass long arguments in a file of the project directory"
            )));
        }
        let defaults = self.door.engine().settings();
        let spec = spec::read(spec, &mounts, &defaults.config.jobs.default_profile)?;
        let granted = self.check_profile(&caller, &spec, is_interactive(&header)).await?;
        let directories = mounts.into_iter().map(|(.., directory)| directory.into()).collect();
        let id = self.door.engine().submit(caller, spec, granted, directories).await?;
        // The event does this too, but maybe after the caller used the path.
        objects::publish_new(&self.door, connection, id).await?;
        Ok((id.0, path(id)?))
    }

    #[zbus(out_args("jobs"))]
    async fn list_jobs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        filter: Filter,
    ) -> Result<Vec<Row>, BusError> {
        let (scope, filter) = self.listed(&header, connection, filter).await?;
        let jobs = self.door.engine().list(scope, filter).await?;
        jobs.into_iter()
            .map(|job| {
                let path = if job.state.is_final() {
                    OwnedObjectPath::try_from("/")?
                } else {
                    path(job.id)?
                };
                let state = job.state.as_str().to_owned();
                let (name, experiment, profile) = (job.name, job.experiment, job.profile);
                Ok((job.id.0, job.uid, name, experiment, profile, state, job.submitted_usec, path))
            })
            .collect()
    }

    #[zbus(out_args("json"))]
    async fn describe_jobs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        filter: Filter,
    ) -> Result<String, BusError> {
        let (scope, filter) = self.listed(&header, connection, filter).await?;
        json(&self.door.engine().describe_all(scope, filter).await?)
    }

    #[zbus(out_args("json"))]
    async fn describe_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<String, BusError> {
        let reached = self.door.reach(JobId(id), "describe", &header, connection).await?;
        json(&self.door.engine().describe(reached.scope, JobId(id)).await?)
    }

    #[zbus(out_args("job"))]
    async fn get_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<OwnedObjectPath, BusError> {
        let reached = self.door.reach(JobId(id), "describe", &header, connection).await?;
        let job = self.door.engine().unfinished_job(reached.scope, JobId(id)).await?;
        objects::publish(&self.door, connection, job.id).await?;
        path(job.id)
    }

    #[zbus(out_args("json"))]
    async fn wait_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<String, BusError> {
        let reached = self.door.reach(JobId(id), "wait", &header, connection).await?;
        let over = self.door.engine().wait(reached.scope, JobId(id));
        tokio::pin!(over);
        loop {
            tokio::select! {
                over = &mut over => return json::<JobDescription>(&over?),
                // A wait without a caller would stay until the job ends.
                () = connection.closed() => return Err(BusError::failed("the caller is gone")),
                () = tokio::time::sleep(CALLER_CHECK) => {
                    if self.door.is_gone(&reached.caller) {
                        return Err(BusError::failed("the caller is gone"));
                    }
                }
            }
        }
    }

    async fn cancel_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<(), BusError> {
        let reached = self.door.reach(JobId(id), "cancel", &header, connection).await?;
        self.door.engine().cancel(&reached.caller, JobId(id)).await;
        Ok(())
    }

    #[zbus(out_args("log"))]
    async fn open_log(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<OwnedFd, BusError> {
        self.open(&header, connection, JobId(id), Part::Log).await
    }

    #[zbus(out_args("directory"))]
    async fn open_outputs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<OwnedFd, BusError> {
        self.open(&header, connection, JobId(id), Part::Outputs).await
    }

    #[zbus(out_args("directory"))]
    async fn open_work(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<OwnedFd, BusError> {
        self.open(&header, connection, JobId(id), Part::Work).await
    }

    #[zbus(out_args("json"))]
    async fn list_profiles(&self) -> Result<String, BusError> {
        json(&self.door.engine().profiles()?)
    }

    #[zbus(out_args("json"))]
    async fn get_profile(&self, name: &str) -> Result<String, BusError> {
        json(&self.door.engine().described_profile(name)?)
    }

    #[zbus(out_args("json"))]
    async fn explain_profile(
        &self,
        profile: &str,
        kind: &str,
        what: &str,
    ) -> Result<String, BusError> {
        json(&self.door.engine().explain(profile, kind, what)?)
    }

    #[zbus(out_args("json"))]
    async fn diff_profiles(&self, before: &str, after: &str) -> Result<String, BusError> {
        json(&self.door.engine().diff(before, after)?)
    }

    #[zbus(out_args("json"))]
    async fn describe_host(&self) -> Result<String, BusError> {
        json(&self.door.engine().findings())
    }

    // Sent by `announce` to those who may hear of the job; declared here for introspection.
    #[zbus(signal)]
    async fn job_new(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        id: u64,
        job: zbus::ObjectPath<'_>,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn job_state_changed(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        id: u64,
        state: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn job_removed(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        id: u64,
        job: zbus::ObjectPath<'_>,
        result: &str,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn mode(&self) -> &'static str {
        self.door.access().mode().as_str()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn jobs_running(&self) -> u32 {
        u32::try_from(self.door.engine().counts().0).unwrap_or(u32::MAX)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn jobs_queued(&self) -> u32 {
        u32::try_from(self.door.engine().counts().1).unwrap_or(u32::MAX)
    }
}

impl Manager {
    /// A profile that is weaker than what every user may use needs the role for it.
    /// Answers with what the caller may have of it beyond that.
    async fn check_profile(
        &self,
        caller: &Caller,
        spec: &JobSpec,
        interactive: bool,
    ) -> Result<Vec<String>, BusError> {
        let engine = self.door.engine();
        // An unknown one is refused, and recorded, when the job is admitted.
        let Ok(profile) = engine.profile(&spec.profile) else { return Ok(Vec::new()) };
        let privileges = profile.privileges();
        let access = self.door.access();
        let allowed = access.may_use_profile(caller, &profile.name, &privileges, interactive).await;
        if let Err(denied) = allowed {
            let resource = format!("profile {}", profile.name);
            engine.record_denial(caller, "submit", &resource, &denied.to_string()).await;
            return Err(denied.into());
        }
        Ok(privileges)
    }

    async fn listed(
        &self,
        header: &Header<'_>,
        connection: &Connection,
        filter: Filter,
    ) -> Result<(Scope, crate::store::Filter), BusError> {
        let caller = self.door.caller(header, connection).await?;
        let wanted = filter::read(filter)?;
        let access = self.door.access();
        let scope = if wanted.all_users {
            match access.scope_of_everybody(&caller, is_interactive(header)).await {
                Ok(scope) => scope,
                Err(denied) => {
                    let words = denied.to_string();
                    self.door.engine().record_denial(&caller, "list", "jobs", &words).await;
                    return Err(denied.into());
                }
            }
        } else {
            Scope::Own(caller.uid())
        };
        Ok((scope, wanted.filter))
    }

    async fn open(
        &self,
        header: &Header<'_>,
        connection: &Connection,
        id: JobId,
        part: Part,
    ) -> Result<OwnedFd, BusError> {
        let reached = self.door.reach(id, "open", header, connection).await?;
        Ok(self.door.engine().open(reached.scope, id, part).await?.into())
    }
}

pub(super) fn path(id: JobId) -> Result<OwnedObjectPath, BusError> {
    Ok(OwnedObjectPath::try_from(job_path(id))?)
}

pub(super) fn json<T: serde::Serialize>(document: &T) -> Result<String, BusError> {
    serde_json::to_string(document)
        .map_err(|error| BusError::failed(format!("cannot describe it as JSON: {error}")))
}
