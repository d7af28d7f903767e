//! Files: what may only be read, what carries rights, and trees made to hurt.

use super::{attack, treasure};
use crate::private;
use fetchml_tests::Private;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

/// `security.capability`, revision 2, effective: every capability.
const ALL_CAPABILITIES: &str = "import os, struct, sys; os.setxattr(sys.argv[1], 'security.capability', \
     struct.pack('<IIIII', 0x02000001, 0xffffffff, 0, 0x1ff, 0))";

#[test]
fn nothing_read_only_is_written_and_nothing_executed_gives_a_right() {
    let private = private!();
    for (name, owner) in [("id-of-owner", 0), ("id-of-root", 65_534), ("id-with-capabilities", 0)] {
        let path = private.project().join(name);
        fs::copy("/usr/bin/id", &path).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o6755)).unwrap();
    }
    let path = private.project().join("id-with-capabilities");
    let given = Command::new("/usr/bin/python3").args(["-c", ALL_CAPABILITIES]).arg(&path).status();
    assert!(given.unwrap().success());
    let before = fs::read("/usr/bin/env").unwrap();
    attack(&private, include_str!("../../../attacks/files.py"), &[], &[]);
    assert!(fs::read("/usr/bin/env").unwrap() == before, "the host's file changed");
}

/// A project with everything in it that a directory can hold.
fn hostile_tree(root: &Path, outside: &Path) {
    let run = |line: &str| {
        let done = Command::new("sh").args(["-ec", line]).current_dir(root).status().unwrap();
        assert!(done.success(), "{line}");
    };
    run(
        "mknod mem c 1 1; mknod kmsg c 1 11; mknod disk b 8 0; mknod whiteout c 0 0; chmod 666 mem kmsg disk",
    );
    run("mkfifo pipe; mkdir many deep; cp /usr/bin/id set-id; chmod 6777 set-id");
    symlink("/etc/shadow", root.join("shadow")).unwrap();
    symlink(outside, root.join("treasure")).unwrap();
    symlink("../../../../../../../..", root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/proc/self/fd/3", root.join("descriptor")).unwrap();
    symlink("/proc/1/root", root.join("root")).unwrap();
    for i in 0..3000 {
        fs::write(root.join(format!("many/{i}")), "").unwrap();
    }
    let mut deep = root.join("deep");
    for _ in 0..150 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let names: [&[u8]; 4] = [b"\x1b[2Jescape", b"new\nline", b"\xff\xfe not text", b"$(reboot)`x`"];
    for name in names {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), "odd").unwrap();
    }
    run("ln pipe hard-link; setfattr -n trusted.overlay.redirect -v /etc many 2>/dev/null || true");
}

const VISIT: &str = "\
import os, sys
from attack import *
from os import O_RDONLY, O_RDWR, O_NONBLOCK
for name in ('mem', 'kmsg', 'disk'):
    attempt(name, 'EACCES', os.open, name, O_RDWR | O_NONBLOCK)
    attempt('read ' + name, 'EACCES', os.open, name, O_RDONLY | O_NONBLOCK)
for name in ('shadow', 'treasure', 'up' + sys.argv[1], 'root/etc/shadow'):
    attempt(name, 'ENOENT EACCES', read, name)
attempt('loop', 'ELOOP', read, 'loop')
attempt('redirected', 'ENOENT', os.stat, 'many/passwd')
attempt('whiteout', 'ENOENT', os.stat, 'whiteout')
names = os.listdir(b'.')
print('held names' if b'new\\nline' in names and b'\\xff\\xfe not text' in names else f'BROKEN {names}')
print('held many' if len(os.listdir('many')) == 3000 else 'BROKEN many')
# Copied up with its mode; what is written to it has none.
os.utime('set-id')
with open('set-id', 'ab') as f: f.write(b'x')
os.rename('pipe', 'moved'); os.unlink('mem'); os.symlink('/etc/shadow', 'mine')
for top, _, files in os.walk('.'): pass
done()";

#[test]
fn a_hostile_project_is_only_files() {
    let private = private!();
    let outside = treasure(&private);
    hostile_tree(&private.project(), &outside);
    let before = listing(&private.project());
    attack(&private, VISIT, &[], &[outside.to_str().unwrap()]);
    assert_eq!(before, listing(&private.project()), "the project changed");
    assert_eq!(fs::read_to_string(outside).unwrap(), "the host's own");
    // What a job left carries no set-id bit further, and others cannot get at it.
    let upper = private.dir().join("state/users/0/default/1/work/upper");
    let mode = fs::metadata(upper.join("set-id")).unwrap().mode();
    assert_eq!(mode & 0o6000, 0, "{mode:o}");
    closed_to_others(&private);
    let listed = private.ctl(["outputs", "@last", "--work"]);
    assert!(!listed.ok().contains('\u{1b}'), "{listed}");
    private.ctl(["outputs", "@last", "--work", "--get", "mine"]).expect(1);
}

fn closed_to_others(private: &Private) {
    for place in ["state", "state/users", "state/users/0", "log", "run", "run/jobs"] {
        let mode = fs::metadata(private.dir().join(place)).unwrap().mode();
        let closed = mode & 0o077 == 0 || fs::metadata(private.dir()).unwrap().mode() & 0o077 == 0;
        assert!(closed, "{place}: {mode:o}");
    }
    let users = fs::metadata(private.dir().join("state/users")).unwrap().mode();
    assert_eq!(users & 0o077, 0, "{users:o}");
}

/// Everything of a tree but what the test itself puts into it.
fn listing(root: &Path) -> Vec<u8> {
    let found = Command::new("find")
        .args([
            ".",
            "-not",
            "-name",
            "*.py",
            "-not",
            "-name",
            ".",
            "-printf",
            "%p %m %U %y %l %s\\n",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    let mut lines: Vec<_> = found.stdout.split(|b| *b == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[test]
fn what_a_job_left_cannot_hurt_who_looks_at_it() {
    let private = private!();
    let outside = treasure(&private);
    let script = "\
import os, socket, sys
from attack import *
os.chdir('/outputs')
os.symlink(sys.argv[1], 'result'); os.symlink('../../../../../../..', 'up'); os.symlink('/etc', 'etc')
os.mkfifo('pipe'); socket.socket(socket.AF_UNIX).bind('socket')
for name in (b'\\x1b]0;title\\x07', b'\\x1b[2J', b'a\\nb', b'\\xff\\xfe', b'-rf', b'$(touch x)'): open(name, 'w').close()
attempt('a name with a slash', 'ENOENT ENOTDIR', os.open, '..\\x00/x'.replace('\\x00', '') + '/../escaped/x', os.O_CREAT | os.O_WRONLY)
open('ordinary', 'w').write('mine')
done()";
    attack(&private, script, &[], &[outside.to_str().unwrap()]);
    let listed = private.ctl(["outputs", "@last"]);
    assert!(listed.ok().contains("ordinary"), "{listed}");
    assert!(!listed.stdout.contains('\u{1b}') && !listed.stdout.contains('\u{7}'), "{listed:?}");
    for name in [
        "result",
        "up/etc/passwd",
        "etc/passwd",
        "../log",
        "../../../../../../etc/passwd",
        "pipe",
        "socket",
    ] {
        let got = private.ctl(["outputs", "@last", "--get", name, "-o", "-"]);
        assert_eq!((got.status, got.stdout.as_str()), (1, ""), "{name}: {got}");
    }
    assert_eq!(private.ctl(["outputs", "@last", "--get", "ordinary", "-o", "-"]).ok(), "mine");
}

#[test]
fn the_agents_image_cannot_be_overwritten() {
    let private = private!();
    let trap = private.put("trap", "#!/proc/self/exe\n");
    fs::set_permissions(trap, Permissions::from_mode(0o755)).unwrap();
    // A script whose interpreter is the program that executes it: the agent.
    let caught = private.ctl(["run", "--", "/work/trap"]);
    assert_ne!(caught.status, 0, "{caught}");
    let script = "\
import os
from attack import *
for path in ('/proc/1/exe', '/proc/self/exe'):
    attempt('open ' + path, 'EACCES ETXTBSY EROFS EPERM', os.open, path, os.O_WRONLY)
    attempt('cut ' + path, 'EACCES ETXTBSY EROFS EPERM', os.truncate, path, 0)
pid = os.fork()
if pid == 0:
    os.execv('/work/trap', ['/work/trap'])
for _ in range(20000):
    try: os.open(f'/proc/{pid}/exe', os.O_WRONLY | os.O_TRUNC); print('BROKEN opened'); break
    except OSError: pass
os.waitpid(pid, 0)
done()";
    attack(&private, script, &[], &[]);
    let running = super::start(&private, &[], "sleep 100");
    super::until_running(&private);
    let (agent, _) = super::agent_and_command(&private);
    let image = fs::read(format!("/proc/{}/exe", agent.as_raw_nonzero())).unwrap();
    assert!(image == fs::read(private.agent()).unwrap(), "the agent's image changed");
    private.ctl(["cancel", "@last"]).expect(0);
    super::finish(running);
}
