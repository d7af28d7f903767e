//! Pseudo-terminals, where a profile gives them: they work as elsewhere, they are the
//! job's own alone, and other profiles have none.

use crate::private;
use fetchml_tests::{Output, Private};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// Profiles that come with the product and give terminals.
const WITH: [&str; 2] = ["debug", "notebook"];
const WITHOUT: [&str; 3] = ["default", "gpu", "strict"];

fn python(private: &Private, profile: &str, script: &str) -> Output {
    private.ctl(["run", "--profile", profile, "--", "/usr/bin/python3", "-c", script])
}

/// What a debugger, a notebook or pexpect does: a session on a terminal of its own, a
/// shell with job control in it, and somebody who types.
const TYPES: &str = "\
import fcntl, os, pty, struct, subprocess, sys, termios
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 50, 132, 0, 0))
def lead():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
shell = subprocess.Popen(['sh', '-i'], stdin=theirs, stdout=theirs, stderr=theirs,
                         preexec_fn=lead, env={'PS1': '', 'PATH': os.environ['PATH']})
os.close(theirs)
said = b''
def until(word):
    global said
    while word not in said:
        said += os.read(ours, 1000)
    said = said.split(word, 1)[1]
def types(line): os.write(ours, line)
types(b'tty; stty size; stat -c \"%U %a\" $(tty)\\n')
until(b'/dev/pts/0'); until(b'50 132'); until(b'job 600')
types(b'echo begun$((1)); sleep 1000\\n')
until(b'begun1')
# Job control: the sleep is in the foreground by itself, and Ctrl-C ends it, not the shell.
# A Ctrl-C before it is executed meets the shell's own handler, still in the child.
while open(f'/proc/{os.tcgetpgrp(ours)}/comm').read() != 'sleep\\n': pass
types(b'\\x03')
types(b'echo answer $((6 * 7))\\n'); until(b'answer 42')
types(b'exit 7\\n')
print(shell.wait(), [os.isatty(fd) for fd in (0, 1, 2)])";

#[test]
fn a_shell_on_a_terminal_of_its_own_works_as_elsewhere() {
    let private = private!();
    for profile in WITH {
        let output = python(&private, profile, TYPES);
        assert_eq!(output.ok(), "7 [False, False, False]", "{profile}: {output}");
        let status = private.ctl(["status", "@last"]);
        assert!(status.says("minimal /dev, pseudo-terminals of its own"), "{profile}: {status}");
        let command = ["run", "--profile", profile, "--", "script", "-qc", "tty; echo x"];
        let output = private.ctl(command.iter().chain(&["/dev/null"]));
        assert_eq!(output.ok().replace('\r', ""), "/dev/pts/0\nx", "{profile}: {output}");
    }
}

const INJECTS: &str = "\
import ctypes, errno, os, pty
call = ctypes.CDLL(None, use_errno=True).syscall
pid, ours = pty.fork()
if pid == 0:
    for request in (0x5412, 0x541c, 0x5423, 0x541d):
        for high in (0, 1 << 32, 0xffffffff << 32):
            ctypes.set_errno(0)
            said = call(16, 0, ctypes.c_ulong(high | request), b'i')
            print(hex(request), hex(high), said, errno.errorcode.get(ctypes.get_errno()), end=';', flush=True)
    print('done', flush=True)
    os._exit(0)
said = b''
while b'done' not in said: said += os.read(ours, 1000)
os.waitpid(pid, 0)
print(said.decode().strip())";

#[test]
fn nobody_types_for_another_even_on_a_terminal_of_the_jobs_own() {
    let private = private!();
    for profile in WITH {
        let output = python(&private, profile, INJECTS);
        let answers: Vec<_> = output.ok().split(';').collect();
        assert_eq!((answers.len(), answers.last().copied()), (13, Some("done")), "{output}");
        for answer in answers.iter().filter(|a| **a != "done") {
            assert!(answer.ends_with(" -1 EPERM"), "{profile}: {answer}");
        }
    }
}

/// Takes every terminal that there is to take, tells, and holds them.
const HOLDS: &str = "\
import errno, os, time
held, end = [], 'none'
try:
    while len(held) < 200: held.append(os.openpty())
except OSError as e: end = errno.errorcode[e.errno]
print(len(held), end, os.stat('/dev/pts').st_dev, flush=True)
time.sleep(1000)";

const LOOKS: &str = "\
import os
print(os.listdir('/dev/pts'), os.path.exists('/dev/pts/0'), os.readlink('/dev/ptmx'), os.stat('/dev/pts').st_dev)
ours, theirs = os.openpty()
print(os.ttyname(theirs), sorted(os.listdir('/dev/pts')))
print({line.split(' ')[1] for line in open('/proc/self/mounts') if ' devpts ' in line})";

#[test]
fn a_jobs_terminals_are_neither_the_hosts_nor_another_jobs() {
    let private = private!();
    // Something to be seen on the host, if the job saw it.
    let host = fs::File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let words = ["run", "--profile", "notebook", "--", "/usr/bin/python3", "-c", HOLDS];
    let mut first = private.command(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let told: Vec<_> = told.split_whitespace().collect();
    assert_eq!(told[..2], ["64", "ENOSPC"], "one job takes so many and no more");
    let output = python(&private, "debug", LOOKS);
    let lines: Vec<_> = output.ok().lines().collect();
    let seen = lines[0].strip_prefix("['ptmx'] False pts/ptmx ").unwrap_or_else(|| {
        panic!("a terminal of somebody else: {output}");
    });
    let of_host = fs::metadata("/dev/pts").unwrap().dev().to_string();
    let all = BTreeSet::from([seen, told[2], &of_host]);
    assert_eq!(all.len(), 3, "one instance for two: {all:?}");
    assert_eq!(lines[1..], ["/dev/pts/0 ['0', 'ptmx']", "{'/dev/pts'}"], "{output}");
    private.ctl(["cancel", "1"]).expect(0);
    first.wait().unwrap();
    drop(host);
}

#[test]
fn other_profiles_have_no_terminals() {
    let private = private!();
    let script = "import os\n\
                  print([n for n in os.listdir('/dev') if n.startswith(('pt', 'tty'))])\n\
                  try: os.openpty()\n\
                  except OSError as e: print(e.strerror)\n\
                  print([l for l in open('/proc/self/mounts') if 'devpts' in l])";
    for profile in WITHOUT {
        let output = python(&private, profile, script);
        let lines: Vec<_> = output.ok().lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "[]", "[]"), "{profile}: {output}");
        assert!(!private.ctl(["status", "@last"]).says("pseudo-terminals"), "{profile}");
    }
}
