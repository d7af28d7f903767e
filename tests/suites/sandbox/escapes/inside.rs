//! From inside: system calls, sockets, /proc.

use super::{attack, treasure};
use crate::private;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

#[test]
fn doors_into_the_kernel_are_shut() {
    let private = private!();
    attack(&private, include_str!("../../../attacks/kernel.py"), &[], &[]);
}

#[test]
fn no_socket_reaches_beyond_the_job() {
    let private = private!();
    let name = format!("fetchml-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let path = private.dir().with_file_name("host.sock");
    let _by_path = UnixListener::bind(&path).unwrap();
    let script = include_str!("../../../attacks/sockets.py");
    for network in ["none", "loopback"] {
        let options = ["--network", network];
        attack(&private, script, &options, &[&name, path.to_str().unwrap()]);
    }
}

#[test]
fn proc_and_descriptors_lead_nowhere() {
    let private = private!();
    let outside = treasure(&private);
    let read = |p: &str| std::fs::read(p).unwrap_or_default();
    let told = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"].map(read);
    let script = include_str!("../../../attacks/proc.py");
    attack(&private, script, &[], &[outside.to_str().unwrap()]);
    assert_eq!(told, ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"].map(read));
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "the host's own");
}

#[test]
fn a_crash_starts_no_helper_of_the_host() {
    let private = private!();
    // core(5): a helper named in core_pattern is started whatever the limit,
    // except at exactly 1.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let limit = u8::from(pattern.starts_with(['|', '@']));
    let output = private.python(
        "import ctypes, resource as r\n\
         def tried(f):\n  try: f()\n  except (OSError, ValueError): pass\n  return r.getrlimit(r.RLIMIT_CORE)\n\
         two = (ctypes.c_ulong * 2)(0, 0)\n\
         call = ctypes.CDLL(None).syscall\n\
         print(tried(lambda: None), tried(lambda: r.setrlimit(r.RLIMIT_CORE, (0, 0))),\n\
         \x20 tried(lambda: call(160, 4, two)), tried(lambda: call(302, 0, 4, two, 0)),\n\
         \x20 tried(lambda: call(302, 0, 1 << 32 | 4, two, 0)))",
    );
    assert_eq!(output.ok(), vec![format!("({limit}, {limit})"); 5].join(" "));
    let crash = private.shell("ulimit -c; kill -SEGV $$");
    crash.expect(139);
    assert!(!crash.says("core dumped"), "{crash}");
}
