//! A supervisor for tests: the real interfaces on a real private socket, and
//! jobs that do what their first word says, without a sandbox.

mod audit;
mod queue;

use fetchml_api::host::{Finding, Group};
use fetchml_api::job::{
    Denied, ExitReport, JobDescription, JobId, JobSpec, JobState, Limits, MountMode, MountRequest,
    Usage,
};
use fetchml_api::log::{FrameHeader, HEADER_BYTES, Stream, TRAILER_BYTES};
use fetchml_api::names::{MAX_PAGE_JOBS, ROOT_PATH, SOCKET_FILE, error as name};
use fetchml_api::proxy::Failures;
use fetchml_policies::{Library, Question};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use zbus::connection::Builder;
use zbus::names::ErrorName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd as WireFd, OwnedObjectPath, OwnedVariant, interface};

/// A supervisor and the directory it serves.
pub(crate) struct Fake {
    pub(crate) dir: TempDir,
    pub(crate) shared: Arc<Shared>,
    /// A copy of the client without a real supervisor beside it.
    program: PathBuf,
}

#[derive(Default)]
pub(crate) struct Shared {
    jobs: Mutex<BTreeMap<u64, Job>>,
    away: Notify,
    draining: Mutex<bool>,
    /// Whether the end was asked for, and with the jobs.
    pub(crate) shut_down: Mutex<Option<bool>>,
    /// The last specification, as it came.
    pub(crate) spec: Mutex<HashMap<String, String>>,
    logs: Mutex<PathBuf>,
}

struct Job {
    described: watch::Sender<JobDescription>,
    cancelled: watch::Sender<bool>,
    log: PathBuf,
    project_file: String,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("run")).expect("a directory");
        std::fs::create_dir_all(dir.path().join("project")).expect("a directory");
        std::fs::write(dir.path().join("project/train.py"), "print('the project')")
            .expect("a file");
        let program = dir.path().join("fetchmlctl");
        std::fs::hard_link(env!("CARGO_BIN_EXE_fetchmlctl"), &program)
            .expect("a link on one file system");
        let shared = Arc::new(Shared::default());
        *shared.logs.lock().expect("no panic while held") = dir.path().to_owned();
        let socket = dir.path().join("run").join(SOCKET_FILE);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let served = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(served, listener, socket));
        });
        Self { dir, shared, program }
    }

    /// The client with this supervisor, in the project.
    pub(crate) fn client(&self, words: &[&str]) -> std::process::Command {
        self.client_of(self.dir.path(), words)
    }

    /// The client with the supervisor of another directory.
    pub(crate) fn client_of(&self, dir: &Path, words: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .arg(format!("--private={}", dir.display()))
            .args(words)
            .current_dir(self.dir.path().join("project"))
            .env("PATH", "/nowhere")
            .env("NO_COLOR", "1");
        command
    }

    /// What the supervisor read of the project through the descriptor it got.
    pub(crate) fn project_file(&self, id: u64) -> String {
        self.shared.jobs.lock().expect("no panic while held")[&id].project_file.clone()
    }

    pub(crate) fn description(&self, id: u64) -> JobDescription {
        self.shared.jobs.lock().expect("no panic while held")[&id].described.borrow().clone()
    }

    pub(crate) fn was_cancelled(&self, id: u64) -> bool {
        *self.shared.jobs.lock().expect("no panic while held")[&id].cancelled.borrow()
    }
}

/// Serves until the process ends. When told to be away, it closes every
/// connection and its socket, and comes back a little later.
async fn serve(shared: Arc<Shared>, listener: UnixListener, socket: PathBuf) {
    let mut listener = listener;
    loop {
        listener.set_nonblocking(true).expect("a socket");
        let accepting = tokio::net::UnixListener::from_std(listener).expect("a socket");
        let mut connections: Vec<Connection> = Vec::new();
        loop {
            tokio::select! {
                stream = accepting.accept() => {
                    let stream = stream.expect("a client").0.into_std().expect("a socket");
                    let guid = zbus::Guid::generate();
                    let built = Builder::unix_stream(stream).server(guid).p2p()
                        .serve_at(ROOT_PATH, Manager(shared.clone()))
                        .serve_at(ROOT_PATH, audit::Audit).build().await;
                    connections.extend(built);
                }
                () = shared.away.notified() => break,
            }
        }
        std::fs::remove_file(&socket).expect("the socket");
        drop(accepting);
        for connection in connections {
            let _ = connection.close().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        listener = UnixListener::bind(&socket).expect("a socket");
    }
}

struct Manager(Arc<Shared>);

#[derive(Debug)]
struct No(&'static str, &'static str);

impl zbus::DBusError for No {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::Message> {
        zbus::Message::error(call, self.name()).build(&(self.1,))
    }
    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.0)
    }
    fn description(&self) -> Option<&str> {
        Some(self.1)
    }
}

type Row = (u64, u32, String, String, String, String, u64, OwnedObjectPath);

#[interface(name = "org.fetchml.FetchML1.Manager")]
impl Manager {
    async fn submit_job(
        &self,
        spec: HashMap<String, OwnedVariant>,
        mounts: Vec<(String, String, String, WireFd)>,
    ) -> Result<(u64, OwnedObjectPath), No> {
        let command: Vec<String> =
            spec["command"].try_clone().ok().and_then(|v| v.try_into().ok()).unwrap_or_default();
        if command[0] == "refused" {
            return Err(No(name::POLICY_DENIED, "you may not run this"));
        }
        let id = self.0.accept(&command, &spec, mounts);
        tokio::spawn(self.0.clone().perform(id, command));
        Ok((id, OwnedObjectPath::try_from("/job").expect("a path")))
    }

    async fn submit_array(
        &self,
        spec: HashMap<String, OwnedVariant>,
        _mounts: Vec<(String, String, String, WireFd)>,
    ) -> Result<(u64, u64), No> {
        queue::submit_array(&self.0, spec)
    }

    async fn describe_array(&self, array: u64) -> Result<String, No> {
        queue::describe_array(&self.0, array)
    }

    async fn cancel_array(&self, array: u64) -> Result<u64, No> {
        let members = queue::members(&self.0, array)?;
        for id in &members {
            self.0.end(*id, JobState::Cancelled, 130, "cancelled");
        }
        Ok(members.len() as u64)
    }

    async fn set_priority(&self, jobs: Vec<u64>, priority: i32) -> Result<Failures, No> {
        if priority > 0 {
            return Err(No(name::POLICY_DENIED, "above 0"));
        }
        Ok(queue::change(&self.0, &jobs, |d| d.spec.queueing.priority = priority))
    }

    async fn hold_jobs(&self, jobs: Vec<u64>) -> Failures {
        queue::change(&self.0, &jobs, |d| d.held = true)
    }

    async fn release_jobs(&self, jobs: Vec<u64>) -> Failures {
        queue::change(&self.0, &jobs, |d| d.held = false)
    }

    async fn list_dead(&self, _filter: HashMap<String, OwnedVariant>) -> String {
        let jobs = self.0.jobs.lock().expect("no panic while held");
        let all = jobs.values().map(|job| job.described.borrow().clone());
        serde_json::to_string(&all.filter(|d| d.dead).collect::<Vec<_>>()).expect("JSON")
    }

    async fn requeue_dead(&self, jobs: Vec<u64>) -> Failures {
        queue::change(&self.0, &jobs, |d| d.dead = false)
    }

    async fn drop_dead(&self, jobs: Vec<u64>) -> Failures {
        queue::change(&self.0, &jobs, |d| d.dead = false)
    }

    async fn list_attempts(&self, id: u64) -> Result<String, No> {
        let job = self.0.job(id, |job| job.described.borrow().clone())?;
        let attempt = |number: u32| {
            serde_json::json!({ "number": number, "state": "failed", "started_usec": 1,
                "finished_usec": 2_000_001, "host_uid": null, "layers": [], "report": job.report })
        };
        Ok(serde_json::Value::from((1..=job.attempt).map(attempt).collect::<Vec<_>>()).to_string())
    }

    async fn describe_queue(&self) -> String {
        queue::overview(&self.0)
    }

    async fn drain(&self, draining: bool) {
        *self.0.draining.lock().expect("no panic while held") = draining;
    }

    async fn back_up(&self) -> WireFd {
        let mut copy = tempfile::tempfile().expect("a file");
        copy.write_all(b"every job").expect("a file");
        copy.rewind().expect("a file");
        OwnedFd::from(copy).into()
    }

    async fn shutdown(&self, jobs: bool) {
        *self.0.shut_down.lock().expect("no panic while held") = Some(jobs);
    }

    async fn list_jobs(&self, filter: HashMap<String, OwnedVariant>) -> Vec<Row> {
        let limit = filter.get("limit").and_then(|v| u32::try_from(v).ok()).unwrap_or(50);
        let jobs = self.0.jobs.lock().expect("no panic while held");
        let rows: Vec<Row> = jobs
            .values()
            .map(|job| {
                let d = job.described.borrow();
                let path = OwnedObjectPath::try_from("/").expect("a path");
                let state = d.state.as_str().to_owned();
                (
                    d.id.0,
                    d.uid,
                    d.spec.name.clone(),
                    "default".into(),
                    "default".into(),
                    state,
                    0,
                    path,
                )
            })
            .collect();
        let skip = rows.len().saturating_sub(limit as usize);
        rows.into_iter().skip(skip).collect()
    }

    async fn describe_jobs(&self, filter: HashMap<String, OwnedVariant>) -> String {
        let limit = filter.get("limit").and_then(|v| u32::try_from(v).ok()).unwrap_or(50);
        let before = filter.get("before").and_then(|v| u64::try_from(v).ok()).unwrap_or(u64::MAX);
        let jobs = self.0.jobs.lock().expect("no panic while held");
        let older = jobs.range(..before).rev().take(limit.min(MAX_PAGE_JOBS) as usize);
        let mut all: Vec<_> = older.map(|(_, job)| job.described.borrow().clone()).collect();
        all.reverse();
        serde_json::to_string(&all).expect("JSON")
    }

    async fn describe_job(&self, id: u64) -> Result<String, No> {
        let job = self.0.job(id, |job| job.described.borrow().clone())?;
        Ok(serde_json::to_string(&job).expect("JSON"))
    }

    async fn wait_job(&self, id: u64) -> Result<String, No> {
        let mut described = self.0.job(id, |job| job.described.subscribe())?;
        let over = described.wait_for(|d| d.state.is_final()).await.expect("the job stays");
        Ok(serde_json::to_string(&*over).expect("JSON"))
    }

    async fn cancel_job(&self, id: u64) -> Result<(), No> {
        self.0.job(id, |job| job.cancelled.send_replace(true)).map(drop)
    }

    async fn open_log(&self, id: u64) -> Result<WireFd, No> {
        let path = self.0.job(id, |job| job.log.clone())?;
        match File::open(path) {
            Ok(log) => Ok(OwnedFd::from(log).into()),
            Err(_) => Err(No(name::FAILED, "there is no log yet")),
        }
    }

    async fn list_profiles(&self) -> String {
        serde_json::to_string(&library().overview("strict").expect("profiles")).expect("JSON")
    }

    async fn get_profile(&self, profile: &str) -> Result<String, No> {
        let document = library().document(profile, "strict");
        let document = document.map_err(|_| No(name::NO_SUCH_PROFILE, "there is none"))?;
        let mut value = serde_json::to_value(document).expect("JSON");
        value["machine"] = serde_json::json!({ "absent": ["/opt"], "refused": null,
            "layers": [{ "name": "landlock", "state": "held", "detail": "level 7" }] });
        Ok(value.to_string())
    }

    async fn explain_profile(&self, profile: &str, kind: &str, what: &str) -> Result<String, No> {
        let library = library();
        let no = |_| No(name::INVALID_SPEC, "it cannot be asked");
        let question = Question::read(kind, what).map_err(no)?;
        let profile = library.profile(profile).map_err(no)?;
        let filter = library.filter(&profile).map_err(no)?;
        let answer = library.answer(&question, &profile, &filter).map_err(no)?;
        Ok(serde_json::to_string(&answer).expect("JSON"))
    }

    async fn describe_host(&self) -> String {
        let findings = [
            Finding::ok(Group::Sandbox, "launcher", "pretends").needed(),
            Finding::partial(Group::Sandbox, "landlock", "as the supervisor sees it").fix("none"),
            Finding::missing(Group::Sandbox, "id-mapped-mounts", "cannot").needed().fix("a disk"),
        ];
        serde_json::to_string(&findings).expect("JSON")
    }

    #[zbus(property)]
    async fn version(&self) -> &'static str {
        "0.0.0"
    }

    #[zbus(property)]
    async fn mode(&self) -> &'static str {
        "private"
    }

    #[zbus(signal)]
    async fn job_new(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;
}

impl Shared {
    fn job<T>(&self, id: u64, of: impl FnOnce(&Job) -> T) -> Result<T, No> {
        let jobs = self.jobs.lock().expect("no panic while held");
        jobs.get(&id).map(of).ok_or(No(name::NO_SUCH_JOB, "there is no such job"))
    }

    fn accept(
        &self,
        command: &[String],
        spec: &HashMap<String, OwnedVariant>,
        mounts: Vec<(String, String, String, WireFd)>,
    ) -> u64 {
        queue::note(self, spec);
        let mut jobs = self.jobs.lock().expect("no panic while held");
        let id = jobs.len() as u64 + 1;
        let text =
            |key: &str| spec.get(key).and_then(|v| <&str>::try_from(v).ok()).map(str::to_owned);
        let number = |key: &str| spec.get(key).and_then(|v| u64::try_from(v).ok());
        let mode = |word: &str| match word {
            "project" => MountMode::Project,
            "rw" => MountMode::Rw,
            _ => MountMode::Ro,
        };
        let described = JobDescription {
            version: 1,
            id: JobId(id),
            uid: 0,
            user: None,
            state: JobState::Running,
            reason: "running".into(),
            spec: JobSpec {
                name: text("name").unwrap_or_else(|| command[0].clone()),
                time_limit_usec: number("time-limit-usec"),
                limits: Limits {
                    memory_bytes: number("memory-bytes"),
                    pids: number("pids"),
                    ..Limits::default()
                },
                mounts: mounts
                    .iter()
                    .map(|(target, word, label, _)| MountRequest {
                        target: target.clone(),
                        mode: mode(word),
                        label: label.clone(),
                    })
                    .collect(),
                ..JobSpec::plain(command.to_vec())
            },
            attempt: 1,
            submitted_usec: 1,
            started_usec: Some(1),
            finished_usec: None,
            host_uid: None,
            denied: Vec::new(),
            usage: None,
            report: None,
            held: false,
            not_before_usec: None,
            dead: false,
            gpu_names: Vec::new(),
        };
        let mut project_file = String::new();
        let project = OwnedFd::from(mounts.into_iter().next().expect("a project").3);
        if let Ok(file) = rustix::fs::openat(
            &project,
            "train.py",
            rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        ) {
            File::from(file).read_to_string(&mut project_file).expect("a file");
        }
        let log = self.logs.lock().expect("no panic while held").join(format!("{id}.log"));
        let job = Job {
            described: watch::Sender::new(described),
            cancelled: watch::Sender::new(false),
            log,
            project_file,
        };
        jobs.insert(id, job);
        id
    }

    /// Does what the first word of the command says.
    async fn perform(self: Arc<Self>, id: u64, command: Vec<String>) {
        let (path, mut cancelled) =
            self.job(id, |job| (job.log.clone(), job.cancelled.subscribe())).expect("the job");
        let number = command.get(1).and_then(|w| w.parse::<i32>().ok()).unwrap_or(0);
        if command[0] == "late" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut log = Log::create(&path);
        match command[0].as_str() {
            "both" => {
                log.write(Stream::Stdout, b"to out\n");
                log.write(Stream::Stderr, b"to err\n");
                log.write(Stream::Stdout, b"\x1b[2Jraw\xff\x00");
            }
            "big" => {
                for piece in big().chunks(50_000) {
                    log.write(Stream::Stdout, piece);
                    log.write(Stream::Stderr, b"e\n");
                }
            }
            "forever" | "stubborn" => {
                log.write(Stream::Stdout, b"begun\n");
                let _ = cancelled.wait_for(|c| *c).await;
                log.write(Stream::Stdout, b"stopping\n");
                if command[0] == "stubborn" {
                    return;
                }
                return self.end(id, JobState::Cancelled, 143, "cancelled");
            }
            "restart" => {
                log.write(Stream::Stdout, b"before\n");
                self.away.notify_one();
                tokio::time::sleep(Duration::from_millis(50)).await;
                log.write(Stream::Stdout, b"meanwhile\n");
                tokio::time::sleep(Duration::from_millis(300)).await;
                log.write(Stream::Stdout, b"after\n");
            }
            "lines" => {
                for n in 1..=5 {
                    log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
                }
            }
            "dies" => {
                let die = |d: &mut JobDescription| (d.dead, d.attempt) = (true, 2);
                self.job(id, |job| job.described.send_modify(die)).expect("the job");
            }
            "fallback" => {
                log.write(Stream::Stdout, b"fell back\n");
                let denied =
                    Denied { call: "ptrace".into(), count: 2, allowed_by: vec!["debug".into()] };
                let note = |job: &Job| job.described.send_modify(|d| d.denied = vec![denied]);
                self.job(id, note).expect("the job");
            }
            _ => log.write(Stream::Stdout, b"done\n"),
        }
        match number {
            0 => self.end(id, JobState::Succeeded, 0, "succeeded"),
            124 => self.end(id, JobState::TimedOut, 124, "the time limit was reached"),
            n => self.end(id, JobState::Failed, n, &format!("exit code {n}")),
        }
    }

    fn end(&self, id: u64, state: JobState, status: i32, words: &str) {
        let report = ExitReport {
            summary: words.into(),
            failure: None,
            exit_code: Some(status),
            signal: None,
            exec_errno: None,
            status,
            started_usec: 1,
            finished_usec: 2,
            stdout_bytes: 0,
            stderr_bytes: 0,
            lost_output_bytes: 0,
            usage: Usage::default(),
            layers: Vec::new(),
            denied: Vec::new(),
        };
        let change = |job: &Job| {
            job.described.send_modify(|d| {
                d.state = state;
                d.reason = words.into();
                d.finished_usec = Some(2);
                d.report = Some(ExitReport { denied: d.denied.clone(), ..report });
            });
        };
        self.job(id, change).expect("the job");
    }
}

fn library() -> Library {
    Library::load::<&Path>(&[]).expect("the vendor's policies are valid")
}

/// Twenty megabytes that hold every byte and no order.
pub(crate) fn big() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..2_500_000).flat_map(|_| next()).collect()
}

struct Log(File);

impl Log {
    /// The log appears in one step, as the supervisor makes it.
    fn create(path: &Path) -> Self {
        Self(File::create(path).expect("a log"))
    }

    fn write(&mut self, stream: Stream, payload: &[u8]) {
        let head =
            FrameHeader { len: payload.len(), stream, time_usec: 1_763_000_000_000_001 }.encode();
        let frame = [&head, payload, &head[..TRAILER_BYTES]].concat();
        assert_eq!(frame.len(), HEADER_BYTES + payload.len() + TRAILER_BYTES);
        self.0.write_all(&frame).expect("a log");
    }
}
