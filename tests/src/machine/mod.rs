//! A Debian with its own kernel, under qemu.
//!
//! No network and no login: the scripts go in on a second disk, what they say
//! comes out of a port, and the machine powers itself off. [`power`] has one that keeps
//! its disk, answers questions while it runs, and whose power can be cut.

mod disk;
pub mod power;
mod talk;

pub use disk::Fate;

use crate::image::{self, Debian, Kind};
use crate::{Output, Unavailable};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(900);
const MARK: &str = "@@fetchml-test";

/// Boots a Debian, runs scripts in it as root one after the other, and gives
/// what each said (both streams in one). `files` are copied beside them.
///
/// # Errors
/// When this machine has no qemu or cannot build the image.
///
/// # Panics
/// When the machine does not run all the scripts.
pub fn run_scripts(
    debian: Debian,
    files: &[PathBuf],
    scripts: &[(&str, &str)],
) -> Result<Vec<Output>, Unavailable> {
    let image = image::directory(Kind::Machine, debian)?;
    let dir = tempfile::tempdir().map_err(|e| Unavailable::because("temporary directory", &e))?;
    let cargo = pack(dir.path(), files, scripts);
    let port = dir.path().join("port");
    let console = dir.path().join("console");
    // snapshot: what the machine writes is gone with it.
    let disk = file(&image.join("disk.img"));
    let mut qemu = qemu(&image, &port, &console)
        .args(["-drive", &format!("if=virtio,format=raw,snapshot=on,file={disk}")])
        .args(second_disk(&cargo))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| Unavailable::because("qemu-system-x86_64", &e))?;

    let end = Instant::now() + TIMEOUT;
    while qemu.try_wait().is_ok_and(|ended| ended.is_none()) {
        if Instant::now() > end {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let said =
        fs::read(&port).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let outputs = unpack(&said);
    assert_eq!(
        outputs.len(),
        scripts.len(),
        "the machine did not run every script\n--- port\n{said}\n--- console\n{}",
        fs::read(&console).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    );
    Ok(outputs)
}

/// The second disk: a tar archive with `script`, which runs the others.
fn pack(dir: &Path, files: &[PathBuf], scripts: &[(&str, &str)]) -> PathBuf {
    let mut main = String::new();
    let mut all = files.to_vec();
    for (number, (name, text)) in scripts.iter().enumerate() {
        let file = format!("script-{number}");
        fs::write(dir.join(&file), text).expect("the temporary directory can be written");
        main.push_str(&format!(
            "echo '{MARK} begin {name}'\nsh ./{file} </dev/null 2>&1\nprintf '\\n{MARK} end %d\\n' $?\n"
        ));
        all.push(dir.join(file));
    }
    archive(dir, &all, &main)
}

fn archive(dir: &Path, files: &[PathBuf], script: &str) -> PathBuf {
    let mut tar = Command::new("tar");
    let disk = dir.join("cargo.tar");
    tar.arg("-cf").arg(&disk).arg("--dereference").arg("-C").arg(dir).arg("script");
    fs::write(dir.join("script"), script).expect("the temporary directory can be written");
    for file in files {
        let parent = file.parent().expect("a file has a directory");
        tar.arg("-C").arg(parent).arg(file.file_name().expect("a file has a name"));
    }
    let status = tar.status().expect("tar is there");
    assert!(status.success(), "tar failed with {status}");
    disk
}

/// The emulator by default: it works everywhere. `FETCHML_TEST_ACCEL=kvm` is
/// faster where it works.
///
/// Without cx16, because the emulator of Debian 12 (7.2) with several threads
/// does not execute cmpxchg16b atomically with interrupts, and a kernel that
/// trusts it for its allocator dies.
fn qemu(image: &Path, port: &Path, console: &Path) -> Command {
    let accel = std::env::var("FETCHML_TEST_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".into());
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-accel", &accel, "-cpu", "max,-cx16", "-m", "2048", "-smp", "2"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"])
        .arg("-kernel")
        .arg(image.join("vmlinuz"))
        .arg("-initrd")
        .arg(image.join("initrd.img"))
        .args(["-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off panic=-1"])
        .args(["-serial", &format!("file:{}", file(console)), "-device", "virtio-serial-pci"])
        .args(["-chardev", &format!("file,id=port,path={}", file(port))])
        .args(["-device", "virtserialport,chardev=port,name=fetchml.test"]);
    command
}

fn second_disk(cargo: &Path) -> [String; 2] {
    ["-drive".to_owned(), format!("if=virtio,format=raw,readonly=on,file={}", file(cargo))]
}

/// A path among qemu's options.
fn file(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Cuts what came out of the port into the outputs of the scripts.
fn unpack(said: &str) -> Vec<Output> {
    let begin = format!("{MARK} begin ");
    let end = format!("\n{MARK} end ");
    said.split(&begin)
        .skip(1)
        .filter_map(|part| {
            let (name, rest) = part.split_once('\n')?;
            let (text, status) = rest.rsplit_once(&end)?;
            Some(Output {
                command: name.trim().to_owned(),
                status: status.lines().next()?.trim().parse().ok()?,
                stdout: text.to_owned(),
                stderr: String::new(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_at_the_marks_and_an_unfinished_one_is_left_out() {
        let said = format!(
            "{MARK} begin one\nhello\nworld\n\n{MARK} end 3\n{MARK} begin two\n\n{MARK} end 0\n{MARK} begin three\nhalf"
        );
        let outputs = unpack(&said);
        assert_eq!(outputs.len(), 2);
        assert_eq!((outputs[0].status, outputs[0].stdout.as_str()), (3, "hello\nworld\n"));
        assert_eq!(
            (outputs[1].command.as_str(), outputs[1].status, outputs[1].ok()),
            ("two", 0, "")
        );
    }
}
