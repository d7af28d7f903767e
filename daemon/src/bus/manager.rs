//! `org.fetchml.FetchML1.Manager`. Documented in `fetchml_api::proxy`.

// zbus calls these through the interface it generates.
#![allow(clippy::used_underscore_binding)]

use super::door::{Door, is_interactive};
use super::error::BusError;
use super::many::Change;
use super::spec::GivenMount;
use super::{filter, objects, spec};
use crate::engine::launcher::Part;
use crate::engine::{Scope, records};
use fetchml_api::job::{JobDescription, JobId};
use fetchml_api::names::{MAX_LISTED_JOBS, job_path};
use fetchml_api::proxy::Failures;
use std::collections::HashMap;
use std::time::Duration;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, OwnedObjectPath, OwnedVariant, interface};

/// How often a wait looks whether its caller on the bus is still there.
const CALLER_CHECK: Duration = Duration::from_secs(30);

/// The time that an answer has to go out before the supervisor ends.
const ANSWER_TIME: Duration = Duration::from_millis(100);

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
        mounts: Vec<GivenMount>,
    ) -> Result<(u64, OwnedObjectPath), BusError> {
        let caller = self.door.submitter(&header, connection).await?;
        let defaults = self.door.engine().settings();
        let spec = spec::read(spec, &mounts, &defaults.config.jobs.default_profile)?;
        let mut specs = spec::without_secrets(vec![spec], defaults).await?;
        let spec = specs.remove(0);
        let granted = self.door.check_role(&caller, &spec, is_interactive(&header)).await?;
        let id = self.door.engine().submit(caller, spec, granted, directories(mounts)).await?;
        // The event does this too, but maybe after the caller used the path.
        objects::publish_new(&self.door, connection, id).await?;
        Ok((id.0, path(id)?))
    }

    #[zbus(out_args("array", "count"))]
    async fn submit_array(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        spec: HashMap<String, OwnedVariant>,
        mounts: Vec<GivenMount>,
    ) -> Result<(u64, u64), BusError> {
        let caller = self.door.submitter(&header, connection).await?;
        let defaults = self.door.engine().settings();
        let specs = spec::read_array(spec, &mounts, &defaults.config.jobs)?;
        let specs = spec::without_secrets(specs, defaults).await?;
        let Some(first) = specs.first() else {
            return Err(BusError::invalid("the array has no jobs: give array or sweep"));
        };
        // They differ in command, environment and name alone.
        let granted = self.door.check_role(&caller, first, is_interactive(&header)).await?;
        let directories = directories(mounts);
        let ids = self.door.engine().submit_array(caller, specs, granted, directories).await?;
        Ok((ids.first().map_or(0, |id| id.0), ids.len() as u64))
    }

    #[zbus(out_args("jobs"))]
    async fn list_jobs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        filter: Filter,
    ) -> Result<Vec<Row>, BusError> {
        let (scope, mut filter) = self.listed(&header, connection, filter).await?;
        filter.limit = filter.limit.min(MAX_LISTED_JOBS);
        let jobs = self.door.engine().list(scope, filter).await?;
        if self.door.engine().shows_new_jobs() {
            let live = jobs.iter().filter(|job| !job.state.is_final()).map(|job| job.id);
            objects::publish_told(&self.door, connection, live).await?;
        }
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
        let reached = self.door.see(JobId(id), "describe", &header, connection).await?;
        json(&self.door.engine().describe(reached.scope, JobId(id)).await?)
    }

    #[zbus(out_args("job"))]
    async fn get_job(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<OwnedObjectPath, BusError> {
        let reached = self.door.see(JobId(id), "describe", &header, connection).await?;
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
        let reached = self.door.see(JobId(id), "wait", &header, connection).await?;
        let _waiting = self.door.wait(&reached.caller, &header)?;
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
        let reached = self.door.change(JobId(id), "cancel", &header, connection).await?;
        Ok(self.door.engine().cancel(&reached.caller, JobId(id)).await?)
    }

    #[zbus(out_args("cancelled"))]
    async fn cancel_array(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        array: u64,
    ) -> Result<u64, BusError> {
        let reached = self.door.change(JobId(array), "cancel", &header, connection).await?;
        self.door.cancel_members(&reached.caller, reached.scope, JobId(array)).await
    }

    #[zbus(out_args("json"))]
    async fn describe_array(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        array: u64,
    ) -> Result<String, BusError> {
        let reached = self.door.see(JobId(array), "describe", &header, connection).await?;
        json(&self.door.array(reached.scope, JobId(array)).await?)
    }

    #[zbus(out_args("failures"))]
    async fn set_priority(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: Vec<u64>,
        priority: i32,
    ) -> Result<Failures, BusError> {
        let priority = spec::in_range(priority)?;
        let caller = self.door.caller(&header, connection).await?;
        self.door.check_priority(&caller, priority, is_interactive(&header)).await?;
        self.door.change_each(&header, connection, jobs, Change::Priority(priority)).await
    }

    #[zbus(out_args("failures"))]
    async fn hold_jobs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: Vec<u64>,
    ) -> Result<Failures, BusError> {
        self.door.change_each(&header, connection, jobs, Change::Hold).await
    }

    #[zbus(out_args("failures"))]
    async fn release_jobs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: Vec<u64>,
    ) -> Result<Failures, BusError> {
        self.door.change_each(&header, connection, jobs, Change::Release).await
    }

    #[zbus(out_args("json"))]
    async fn list_dead(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        filter: Filter,
    ) -> Result<String, BusError> {
        let (scope, filter) = self.listed(&header, connection, filter).await?;
        let dead = crate::store::Filter { dead: true, ..filter };
        json(&self.door.engine().describe_all(scope, dead).await?)
    }

    #[zbus(out_args("failures"))]
    async fn requeue_dead(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: Vec<u64>,
    ) -> Result<Failures, BusError> {
        self.door.change_each(&header, connection, jobs, Change::Requeue).await
    }

    #[zbus(out_args("failures"))]
    async fn drop_dead(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: Vec<u64>,
    ) -> Result<Failures, BusError> {
        self.door.change_each(&header, connection, jobs, Change::Drop).await
    }

    #[zbus(out_args("json"))]
    async fn list_attempts(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
    ) -> Result<String, BusError> {
        let reached = self.door.see(JobId(id), "describe", &header, connection).await?;
        json(&self.door.engine().attempts(reached.scope, JobId(id)).await?)
    }

    #[zbus(out_args("json"))]
    async fn describe_queue(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, BusError> {
        let caller = self.door.caller(&header, connection).await?;
        json(&self.door.engine().queue_overview(self.door.access().sight(&caller)))
    }

    async fn drain(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        draining: bool,
    ) -> Result<(), BusError> {
        let caller = self.door.operator("drain", &header, connection).await?;
        self.door.record(records::drained(&caller, draining)).await?;
        self.door.engine().drain(draining);
        Ok(())
    }

    async fn add_secret(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        name: String,
        holders: Vec<String>,
        value: OwnedFd,
    ) -> Result<(), BusError> {
        let caller = self.door.keeper("add-secret", &header, connection).await?;
        self.door.add_secret(&caller, name, holders, value.into()).await
    }

    async fn rotate_secret(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        name: String,
        value: OwnedFd,
    ) -> Result<(), BusError> {
        let caller = self.door.keeper("rotate-secret", &header, connection).await?;
        self.door.rotate_secret(&caller, name, value.into()).await
    }

    async fn remove_secret(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        name: String,
    ) -> Result<(), BusError> {
        let caller = self.door.keeper("remove-secret", &header, connection).await?;
        self.door.remove_secret(&caller, name).await
    }

    #[zbus(out_args("json"))]
    async fn list_secrets(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, BusError> {
        self.door.keeper("list-secrets", &header, connection).await?;
        json(&self.door.secrets().await?)
    }

    #[zbus(out_args("store"))]
    async fn back_up(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd, BusError> {
        let caller = self.door.operator("back-up", &header, connection).await?;
        Ok(self.door.engine().back_up(&caller).await?.into())
    }

    async fn shutdown(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        jobs: bool,
    ) -> Result<(), BusError> {
        let caller = self.door.operator("shutdown", &header, connection).await?;
        let _waiting = self.door.wait(&caller, &header)?;
        // As with a cancellation: what must be stopped is stopped, recorded or not.
        if let Err(error) = self.door.record(records::shutdown_asked(&caller, jobs)).await {
            tracing::error!(error = %error.message, "who asked for the stop could not be recorded");
        }
        if jobs {
            self.door.end_jobs(&caller).await?;
        }
        let end = self.door.desk.end.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_TIME).await;
            end.notify_one();
        });
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

    #[zbus(out_args("log"))]
    async fn open_attempt_log(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        id: u64,
        attempt: u32,
    ) -> Result<OwnedFd, BusError> {
        self.open(&header, connection, JobId(id), Part::AttemptLog(attempt)).await
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
            match access.sight_of_everybody(&caller, is_interactive(header)).await {
                Ok(scope) => scope,
                Err(denied) => return Err(self.door.denied(&caller, "list", "jobs", denied).await),
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
        let reached = self.door.see(id, "open", header, connection).await?;
        Ok(self.door.engine().open(reached.scope, id, part).await?.into())
    }
}

/// The descriptors among the mounts, in their order.
fn directories(mounts: Vec<GivenMount>) -> Vec<std::os::fd::OwnedFd> {
    mounts.into_iter().map(|(.., directory)| directory.into()).collect()
}

pub(super) fn path(id: JobId) -> Result<OwnedObjectPath, BusError> {
    Ok(OwnedObjectPath::try_from(job_path(id))?)
}

pub(super) fn json<T: serde::Serialize>(document: &T) -> Result<String, BusError> {
    serde_json::to_string(document)
        .map_err(|error| BusError::failed(format!("cannot describe it as JSON: {error}")))
}
