//! What a job could do if one layer were gone: the test opens it from the host
//! and sees that the next one holds.

use super::{agent_and_command, finish, on_the_host, start, until_running};
use crate::private;
use fetchml_tests::Private;
use rustix::process::Pid;

/// Functions for a host process that joins a job's namespaces.
const JOIN: &str = "\
import ctypes, errno, fcntl, os, socket, struct, sys
c = ctypes.CDLL(None, use_errno=True)
def join(pid, *kinds):
    fds = [os.open(f'/proc/{pid}/ns/{k}', os.O_RDONLY) for k in kinds]
    for fd in fds:
        if c.setns(fd, 0): raise OSError(ctypes.get_errno(), 'setns')
def said(r): return 'open' if r == 0 else errno.errorcode[ctypes.get_errno()]
";

/// A job that runs until it is told to go on, and then this script.
fn waiting(private: &Private, network: &str, script: &str) -> (std::process::Child, Pid) {
    super::bring(
        private,
        "it.py",
        &format!(
            "import os, time, socket\nfrom attack import *\nwhile not os.path.exists('/data/go'): time.sleep(0.02)\n{script}\ndone()"
        ),
    );
    let data = private.dir().with_file_name("data");
    std::fs::create_dir_all(&data).unwrap();
    let mount = format!("{}:/data", data.display());
    let options = ["--network", network, "--mount", &mount];
    let client = start(private, &options, "exec /usr/bin/python3 it.py");
    until_running(private);
    let (_, command) = agent_and_command(private);
    (client, command)
}

fn go_on(private: &Private, client: std::process::Child) {
    std::fs::write(private.dir().with_file_name("data").join("go"), "").unwrap();
    let output = client.wait_with_output().unwrap();
    super::held(&fetchml_tests::Output::of("the job".into(), &output));
}

#[test]
fn root_of_the_jobs_own_user_namespace_owns_nothing_else() {
    let private = private!();
    let client = start(&private, &[], "sleep 100");
    until_running(&private);
    let (_, command) = agent_and_command(&private);
    // Every capability of the job's user namespace, no filter, no Landlock: as if
    // all other layers had been broken.
    let script = format!(
        "{JOIN}\
         join({pid}, 'mnt', 'net', 'uts', 'ipc', 'cgroup', 'user')\n\
         names = os.listdir('/')\n\
         if 'roots' in names or 'outputs' not in names: sys.exit('behind the job is ' + str(names))\n\
         r = struct.pack('16sh14x', b'lo', 0x41)\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         def up():\n\
         \x20   try: fcntl.ioctl(s, 0x8914, r + bytes(8)); return 'open'\n\
         \x20   except OSError as e: return errno.errorcode[e.errno]\n\
         print(said(c.mount(b'x', b'/tmp', b'tmpfs', 0, None)), said(c.umount2(b'/work', 2)),\n\
         \x20     said(c.mount(None, b'/', None, 32, None)), said(c.syscall(155, b'/work', b'/work')),\n\
         \x20     up(), said(c.sethostname(b'owned', 5)))",
        pid = command.as_raw_nonzero()
    );
    let output = on_the_host(&script);
    let words: Vec<_> = output.ok().split_whitespace().collect();
    assert_eq!(words, ["EPERM"; 6], "{output}");
    private.ctl(["cancel", "@last"]).expect(0);
    finish(client);
}

#[test]
fn what_a_mount_would_allow_landlock_still_refuses() {
    let private = private!();
    let (client, command) = waiting(
        &private,
        "none",
        "attempt('write to a writable mount', 'EACCES', os.open, '/usr/share/x', os.O_CREAT | os.O_WRONLY)\n\
         attempt('read there', 'EACCES', read, '/home/secret')\n\
         attempt('make a device', 'EPERM EACCES', os.mknod, '/home/x', 0o20666, os.makedev(1, 3))\n\
         attempt('listen on TCP', 'EACCES', socket.socket().bind, ('0.0.0.0', 5555))\n\
         attempt('connect by TCP', 'EACCES', socket.socket().connect, ('127.0.0.1', 5555))",
    );
    // The host makes the mount layer wrong: a writable file system in the middle
    // of what is read-only, and a directory of secrets.
    let script = format!(
        "{JOIN}join({pid}, 'mnt')\n\
         print(said(c.mount(b'x', b'/usr/share', b'tmpfs', 0, b'mode=777')), said(c.mount(b'', b'/', b'', 4096 | 32, None)))\n\
         os.makedirs('/home', 0o777)\nopen('/home/secret', 'w').write('x')",
        pid = command.as_raw_nonzero()
    );
    assert_eq!(on_the_host(&script).ok(), "open open");
    go_on(&private, client);
}

#[test]
fn landlock_scopes_hold_inside_one_namespace() {
    let private = private!();
    let (client, command) = waiting(
        &private,
        "loopback",
        "attempt('abstract socket of another domain', 'EPERM', socket.socket(socket.AF_UNIX).connect, '\\0stranger')",
    );
    let script = format!(
        "{JOIN}join({pid}, 'net')\n\
         s = socket.socket(socket.AF_UNIX); s.bind('\\0stranger'); s.listen(); print('listening', flush=True)\n\
         sys.stdin.read()",
        pid = command.as_raw_nonzero()
    );
    let mut stranger = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(stranger.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line.trim(), "listening");
    go_on(&private, client);
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}

/// A client with groups, ignored signals and a descriptor that nobody should see
/// again.
fn start_with_baggage(private: &Private, script: &str) -> std::process::Child {
    let command = private.command(["run", "--", "sh", "-c", script]);
    let mut wrapped = std::process::Command::new("setpriv");
    wrapped
        .args([
            "--groups",
            "4,20,27",
            "bash",
            "-c",
            // Above the numbers that the agent has for its own.
            "exec 40</etc/hostname; trap '' INT QUIT HUP; exec \"$@\"",
            "bash",
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .env("FETCHML_AGENT", private.agent())
        .current_dir(private.project())
        .stdin(std::process::Stdio::null());
    let client = wrapped.spawn().unwrap();
    // Before anybody else starts one who has nothing to hand on.
    super::eventually("its supervisor", || private.supervisor().map(drop));
    client
}

#[test]
fn groups_and_descriptors_of_who_started_it_are_not_the_jobs() {
    let private = private!();
    let client = start_with_baggage(&private, "sleep 100");
    until_running(&private);
    let (agent, command) = agent_and_command(&private);
    for pid in [agent, command] {
        // The agent takes its own filter after it has started the command.
        let filtered = |_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            super::status_of(pid).contains("Seccomp:\t2")
        };
        assert!((0..200).any(filtered), "no filter: {}", super::status_of(pid));
        assert!(super::status_of(pid).contains("Groups:\t \n"), "{}", super::status_of(pid));
        let status = super::status_of(pid);
        let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:\t")).unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        // Of INT, QUIT and HUP none.
        assert_eq!(ignored & 0b111, 0, "{status}");
        let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
        for entry in open.flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            assert!(!target.starts_with("/etc"), "{entry:?} is {}", target.display());
        }
    }
    private.ctl(["cancel", "@last"]).expect(0);
    finish(client);
}

/// Where the descriptors of a process lead, without numbers and the place of this test.
fn descriptors(private: &Private, pid: Pid) -> Vec<String> {
    // A process that is gone has none.
    let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    let place = private.dir().display().to_string();
    let target = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().replace(&place, "");
        match target.split_once(":[") {
            Some((kind @ ("pipe" | "socket"), _)) => kind.to_owned(),
            _ => target,
        }
    };
    let mut all: Vec<_> = open.into_iter().flatten().flatten().map(target).collect();
    all.sort();
    all
}

#[test]
fn an_agent_has_the_descriptors_of_its_own_job_alone() {
    let private = private!();
    let client = start(&private, &[], "sleep 100");
    until_running(&private);
    let lock = format!("/run/fetchml-ids/{}", super::host_uid(&private) - 1_879_048_192);
    let null = "/dev/null";
    let wanted = [
        null,
        null,
        null,
        // The plan was here.
        null,
        "/memfd:fetchml-rules (deleted)",
        &lock,
        "/state/users/0/default/1/log",
        "/state/users/0/default/1/report",
        "anon_inode:[eventfd]",
        "anon_inode:[signalfd]",
        "anon_inode:seccomp notify",
        "pipe",
        "pipe",
        "socket",
    ];
    // The agent lets go of what it starts the command with, and for a moment others have
    // the job's id: who makes the next namespaces.
    let look = || {
        let (agent, command) = agent_and_command(&private);
        (descriptors(&private, agent), descriptors(&private, command))
    };
    let settled = |_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let (agent, command) = look();
        agent == wanted && command == [null, "pipe", "pipe"]
    };
    assert!((0..200).any(settled), "{:#?}", look());
    private.ctl(["cancel", "@last"]).expect(0);
    finish(client);
}

/// What the supervisor keeps of a job goes with the job.
#[test]
fn ended_jobs_leave_no_descriptor_with_the_supervisor() {
    let private = private!();
    private.shell("true").expect(0);
    let supervisor = private.supervisor().unwrap();
    let settled = |_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let all = descriptors(&private, supervisor);
        // One that ends by itself, as nobody needs it, has none at all.
        let lives = all.iter().any(|one| one == "/state/users");
        lives && !all.iter().any(|one| one.starts_with("/state/users/0/"))
    };
    assert!((0..200).any(settled), "{:#?}", descriptors(&private, supervisor));
}

#[test]
fn a_job_has_a_keyring_of_its_own() {
    let private = private!();
    let client = start(&private, &[], "sleep 100");
    until_running(&private);
    agent_and_command(&private);
    let id = super::host_uid(&private).to_string();
    let users = std::fs::read_to_string("/proc/key-users").unwrap();
    let owns = users.lines().any(|l| l.trim_start().split(':').next() == Some(&id));
    assert!(owns, "no key belongs to {id}:\n{users}");
    private.ctl(["cancel", "@last"]).expect(0);
    finish(client);
}
