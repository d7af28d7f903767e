//! A machine that keeps its disk from one boot to the next, and whose power can be cut.

use super::disk::{self, Fate};
use super::talk::{self, Talk};
use super::{archive, file, qemu, second_disk};
use crate::campaign::Lot;
use crate::image::{self, Debian, Kind};
use crate::{Output, Unavailable};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A machine that has not come up by then will not.
const PATIENCE: Duration = Duration::from_secs(300);
/// More than any boot writes. The file has holes.
const LOG_BYTES: u64 = 64 << 30;

/// A machine that was set up, running or not.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
    image: PathBuf,
    cargo: PathBuf,
    running: Mutex<Option<(Child, Arc<Talk>)>>,
}

impl Machine {
    /// A Debian that runs a script as root at each boot, with `files` beside it, and
    /// answers questions from then on.
    ///
    /// # Errors
    /// When this machine has no qemu or cannot build the image.
    pub fn new(debian: Debian, files: &[PathBuf], script: &str) -> Result<Self, Unavailable> {
        let image = image::directory(Kind::Machine, debian)?;
        let because = |error: std::io::Error| Unavailable::because("disk of the machine", &error);
        // Beside the image, because a disk may be too large for a /tmp in memory.
        let dir = TempDir::with_prefix_in("machine-", image::cache()).map_err(because)?;
        let inside = dir.path().join("talk.py");
        fs::write(&inside, talk::INSIDE).map_err(because)?;
        let files: Vec<_> = files.iter().cloned().chain([inside]).collect();
        let script = format!("{script}\nexec python3 talk.py\n");
        let cargo = archive(dir.path(), &files, &script);
        copy(&image.join("disk.img"), &dir.path().join("disk")).map_err(because)?;
        Ok(Self { dir, image, cargo, running: Mutex::default() })
    }

    /// Switches it on and does not wait.
    ///
    /// # Panics
    /// When qemu cannot be executed.
    pub fn switch_on(&self) {
        // What it writes goes to a copy and to the log; see `disk`.
        let (live, log) = (self.file("live"), self.file("log"));
        copy(&self.file("disk"), &live).expect("the disk can be copied");
        let log_file = File::create(&log).expect("the log can be created");
        log_file.set_len(LOG_BYTES).expect("the log can have holes");
        let socket = self.file("socket");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket can be made");
        let mut command = qemu(&self.image, &self.file("port"), &self.file("console"));
        command
            .args(["-blockdev", &format!("driver=file,node-name=live,filename={}", file(&live))])
            .args(["-blockdev", &format!("driver=file,node-name=log,filename={}", file(&log))])
            .args(["-blockdev", "driver=blklogwrites,node-name=both,file=live,log=log"])
            // With a cache that has to be flushed, as disks have one.
            .args(["-device", "virtio-blk-pci,drive=both,write-cache=on"])
            .args(second_disk(&self.cargo))
            .args(["-chardev", &format!("socket,id=talk,path={}", file(&socket))])
            .args(["-device", "virtserialport,chardev=talk,name=fetchml.talk"])
            .stdin(Stdio::null());
        let child = command.spawn().expect("qemu can be executed");
        *self.running() = Some(connect(child, &listener).unwrap_or_else(|| self.did_not("start")));
    }

    /// Waits until it answers questions.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_up(&self) {
        if !self.talk().is_some_and(|talk| talk.is_up_within(PATIENCE)) {
            self.did_not("come up");
        }
    }

    /// Cuts the power. What its disk has then is drawn by lot.
    ///
    /// # Panics
    /// When it is not on, or its disk cannot be written.
    pub fn cut_power(&self, lot: &mut Lot) -> Fate {
        let (mut child, _talk) = self.running().take().expect("it is on");
        let _ = child.kill();
        let _ = child.wait();
        let (log, disk) = (self.file("log"), self.file("disk"));
        let fate = disk::replay(&log, &disk, lot).expect("the disk can be written");
        let fate = fate.unwrap_or_else(|| {
            // As if the disk had had the time to write back all that it was given.
            fs::rename(self.file("live"), &disk).expect("the disk can be replaced");
            Fate::default()
        });
        let _ = fs::remove_file(&log);
        fate
    }

    /// Lets it power itself off.
    ///
    /// # Panics
    /// When it does not.
    pub fn power_off(&self) {
        let (mut child, talk) = self.running().take().expect("it is on");
        talk.end();
        let end = Instant::now() + PATIENCE;
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                self.did_not("power off");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a command in it as a user. `None` when it went away before it answered.
    #[must_use]
    pub fn ask(&self, user: &str, words: &[&str]) -> Option<Output> {
        self.talk()?.ask(user, words)
    }

    /// Whether it is on and was not seen to go away.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.talk().is_some_and(|talk| talk.is_there())
    }

    fn talk(&self) -> Option<Arc<Talk>> {
        self.running().as_ref().map(|(_, talk)| talk.clone())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<(Child, Arc<Talk>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn did_not(&self, what: &str) -> ! {
        let read = |name| {
            let bytes = fs::read(self.file(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        panic!(
            "the machine did not {what}\n--- port\n{}\n--- console\n{}",
            read("port"),
            read("console")
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for qemu, which connects when it starts.
fn connect(mut child: Child, listener: &UnixListener) -> Option<(Child, Arc<Talk>)> {
    listener.set_nonblocking(true).ok()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).ok()?;
                return Some((child, Arc::new(Talk::over(stream).ok()?)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut command = Command::new("cp");
    let status = command.args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("cp failed with {status}")))
    }
}
