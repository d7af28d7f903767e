//! What the kernel counts for each user, used up.

use super::{attack, on_the_host};
use crate::private;

/// Takes all there is, says so, and keeps it until its input ends.
const GREEDY: &str = "\
import ctypes, os, signal, time
from attack import *
c = ctypes.CDLL(None)
c.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
n = 0
while n < 70000 and c.inotify_init1(0) >= 0: n += 1
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
k = 0
while k < 2000000 and c.sigqueue(os.getpid(), 40, None) == 0: k += 1
print(f'held {n} inotify instances and {k} signals', flush=True)
open('/outputs/full', 'w').close()
while not os.path.exists('/outputs/enough'): time.sleep(0.05)
done()";

/// What root on the host has left.
const LEFT: &str = "\
import ctypes, os, signal
c = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
c.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
print(c.inotify_init1(0) >= 0, c.sigqueue(os.getpid(), 40, None))";

#[test]
fn what_a_job_uses_up_is_missing_to_nobody_else() {
    let private = private!();
    private.shell("true").ok();
    let outputs = private.dir().join("state/users/0/default/2/outputs");
    std::thread::scope(|scope| {
        let job = scope.spawn(|| attack(&private, GREEDY, &[], &[]));
        while !outputs.join("full").exists() && !job.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let left = on_the_host(LEFT);
        // Another job has its own share as well.
        let other = private.python(LEFT);
        let _ = std::fs::write(outputs.join("enough"), "");
        job.join().unwrap();
        assert_eq!(left.ok(), "True 0", "root on the host is short of something");
        assert_eq!(other.ok(), "True 0", "another job is short of something");
    });
}
