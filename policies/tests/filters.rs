//! The vendor's filters, run instruction by instruction as the kernel would.

mod kernel;

use fetchml_policies::calls::number;
use fetchml_policies::{Filter, Library, Outcome};
use kernel::{Call, Written, X86_64, run};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use syscalls::x86_64::Sysno;

const EPERM: Outcome = Outcome::Errno(1);
const EINVAL: Outcome = Outcome::Errno(22);
const ENOSYS: Outcome = Outcome::Errno(38);
const EAFNOSUPPORT: Outcome = Outcome::Errno(97);
/// Bits that the kernel cuts off an `int` argument.
const HIGH: u64 = 0xffff_ffff_0000_0000;

const HARDENED: &str = include_str!("../seccomp/default-hardened.json");
const STRICT: &str = include_str!("../seccomp/strict.json");
const CEILING: &str = include_str!("../seccomp/agent-base.json");

fn library() -> Library {
    Library::load::<&Path>(&[]).expect("the vendor's policies are valid")
}

fn of(name: &str) -> Arc<Filter> {
    let library = library();
    let profile = library.profile(name).expect("the vendor has it");
    library.filter(&profile).expect("its filter is there")
}

fn hardened() -> Arc<Filter> {
    of("default")
}

/// The filters of all the vendor's profiles, and the ceiling.
fn all() -> impl Iterator<Item = Arc<Filter>> {
    ["default", "strict", "gpu", "debug", "notebook"].into_iter().map(of).chain([ceiling()])
}

fn ceiling() -> Arc<Filter> {
    library().ceiling()
}

fn call(name: &str, args: &[u64]) -> Call {
    let number = Sysno::from_str(name).unwrap_or_else(|_| panic!("{name} is no system call"));
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call { arch: X86_64, number: number as u32, args: all }
}

fn ask(filter: &Filter, name: &str, args: &[u64]) -> Outcome {
    run(&filter.programs, &call(name, args))
}

/// Many calls: every number, and arguments near all that the files test of it.
fn calls(files: &[&Written]) -> Vec<Call> {
    let samples = |number| {
        let mut samples: Vec<u64> = vec![0, 1, u64::MAX, HIGH];
        for value in files.iter().flat_map(|file| file.values(number)) {
            samples.extend([value, value | HIGH, value.wrapping_add(1), !value]);
        }
        samples.sort_unstable();
        samples.dedup();
        samples
    };
    let numbers = (0..=500).chain([1000, 0x3fff_ffff]);
    let all = numbers.flat_map(|number| {
        let samples = samples(number);
        samples.into_iter().flat_map(move |sample| {
            [0, 1, 2, 6, 17, 0o100, 0o4755, 0o20_000_100].into_iter().flat_map(move |second| {
                let call = move |args| Call { arch: X86_64, number, args };
                [
                    call([sample; 6]),
                    call([sample, second, 0, 0, 0, 0]),
                    call([0, second, sample, sample, 0, 0]),
                ]
            })
        })
    });
    all.collect()
}

#[test]
fn every_call_has_the_outcome_that_the_files_give_it() {
    let (own, above) = (Written::read(HARDENED), Written::read(CEILING));
    let (filter, ceiling) = (hardened(), ceiling());
    for call in calls(&[&own, &above]) {
        let expected = kernel::stricter(above.outcome(&call), own.outcome(&call));
        assert_eq!(run(&filter.programs, &call), expected, "{call:x?}");
        assert_eq!(filter.outcome(call.number, &call.args), expected, "{call:x?}");
        assert_eq!(run(&ceiling.programs, &call), above.outcome(&call), "agent-base: {call:x?}");
    }
}

#[test]
fn the_listener_is_asked_about_denials_alone_and_answers_as_the_kernel_would() {
    let filter = hardened();
    let counting = filter.counting.as_ref().expect("the default profile counts denials");
    for call in calls(&[&Written::read(HARDENED), &Written::read(CEILING)]) {
        let plain = run(&filter.programs, &call);
        let (answer, asked) = kernel::listen(counting, &call);
        assert_eq!(answer, plain, "{call:x?}");
        let quiet = ["clone3", "openat2"].iter().any(|name| number(name) == Some(call.number));
        assert_eq!(asked, matches!(plain, Outcome::Errno(_)) && !quiet, "{call:x?}");
    }
    assert_eq!(kernel::accepts(&counting.program), Ok(()));
    let x32 = Call { arch: X86_64, number: 0x4000_0000 | 101, args: [0; 6] };
    assert_eq!(kernel::listen(counting, &x32), (ENOSYS, false), "x32 is not told");
}

#[test]
fn other_ways_into_the_kernel_are_closed() {
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    for filter in all() {
        for number in (0..=600).chain([u32::MAX]) {
            for arch in [I386, AARCH64, 0] {
                let foreign = Call { arch, number, args: [0; 6] };
                assert_eq!(run(&filter.programs, &foreign), Outcome::KillProcess, "{foreign:x?}");
            }
            let x32 = Call { arch: X86_64, number: number | 0x4000_0000, args: [0; 6] };
            assert_eq!(run(&filter.programs, &x32), ENOSYS, "{x32:x?}");
        }
    }
}

#[test]
fn the_kernel_takes_the_programs() {
    for filter in all() {
        for program in &filter.programs {
            assert_eq!(kernel::accepts(program), Ok(()), "{}", filter.name);
        }
    }
}

#[test]
fn every_rule_says_why() {
    for filter in all() {
        for rule in &filter.rules {
            assert!(rule.comment.len() > 20, "{}: {:?} has no reason", filter.name, rule.names);
        }
        assert_eq!(filter.unknown, Vec::<String>::new(), "{}", filter.name);
    }
}

#[test]
fn what_a_job_must_never_do_is_refused_by_every_filter() {
    let never = "mount umount2 reboot kexec_load kexec_file_load open_by_handle_at perf_event_open bpf \
                 fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr pivot_root chroot init_module \
                 finit_module delete_module name_to_handle_at setns unshare keyctl add_key request_key userfaultfd \
                 quotactl swapon swapoff acct settimeofday \
                 clock_settime clock_adjtime adjtimex sethostname setdomainname ioperm iopl syslog vhangup \
                 modify_ldt io_uring_setup io_uring_enter io_uring_register move_pages migrate_pages fanotify_init";
    for filter in all() {
        for name in never.split_whitespace() {
            assert_eq!(ask(&filter, name, &[]), EPERM, "{}: {name}", filter.name);
        }
    }
}

#[test]
fn debuggers_work_where_the_profile_is_for_them_and_nothing_else_changes() {
    let tracers = ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"];
    for name in tracers {
        for profile in ["default", "strict", "gpu"] {
            assert_eq!(ask(&of(profile), name, &[]), EPERM, "{profile}: {name}");
        }
        for profile in ["debug", "notebook"] {
            assert_eq!(ask(&of(profile), name, &[]), Outcome::Allow, "{profile}: {name}");
        }
    }
    let (default, debug) = (hardened(), of("debug"));
    for call in calls(&[&Written::read(HARDENED), &Written::read(CEILING)]) {
        if !tracers.iter().any(|name| number(name) == Some(call.number)) {
            let expected = run(&default.programs, &call);
            assert_eq!(run(&debug.programs, &call), expected, "{call:x?}");
        }
    }
}

#[test]
fn strict_allows_nothing_that_default_does_not() {
    let (default, strict) = (hardened(), of("strict"));
    for call in calls(&[&Written::read(HARDENED), &Written::read(STRICT)]) {
        if run(&strict.programs, &call).lets_through() {
            assert!(run(&default.programs, &call).lets_through(), "{call:x?}");
        }
    }
    assert!(strict.allowed + 60 < default.allowed, "{} of {}", strict.allowed, default.allowed);
    for family in 0..64 {
        let expected = if family == 1 { Outcome::Allow } else { EAFNOSUPPORT };
        assert_eq!(ask(&strict, "socket", &[family, 1, 0]), expected, "{family}");
    }
    // What a data loader with workers needs.
    let used = "clone fork execve mmap futex memfd_create link rename sendmsg recvmsg \
                epoll_wait eventfd2 pidfd_open inotify_init1 flock wait4 sched_setaffinity rseq";
    for name in used.split_whitespace() {
        assert_eq!(ask(&strict, name, &[]), Outcome::Allow, "{name}");
    }
    assert_eq!(ask(&strict, "socketpair", &[1, 1, 0]), Outcome::Allow);
    for name in ["shmget", "mbind", "mlock", "landlock_restrict_self", "timer_create"] {
        assert_eq!(ask(&strict, name, &[]), ENOSYS, "{name}");
    }
}

#[test]
fn new_namespaces_are_refused_and_threads_are_not() {
    const THREAD: u64 = 0x003d_0f00;
    for filter in all() {
        assert_eq!(ask(&filter, "clone", &[THREAD]), Outcome::Allow);
        assert_eq!(ask(&filter, "clone", &[17]), Outcome::Allow);
        for flag in
            [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(ask(&filter, "clone", &[flag | 17]), EPERM, "{flag:#x}");
            assert_eq!(ask(&filter, "clone", &[HIGH | flag | 17]), EPERM, "{flag:#x}");
        }
        assert_eq!(ask(&filter, "clone3", &[]), ENOSYS);
        assert_eq!(ask(&filter, "fork", &[]), Outcome::Allow);
    }
}

#[test]
fn only_the_sockets_of_training_are_made() {
    let filter = hardened();
    const CLOEXEC: u64 = 0o200_0000;
    for args in [
        [1, 1, 0],
        [1, 5 | CLOEXEC, 0],
        [2, 1, 0],
        [2, 1 | CLOEXEC, 6],
        [10, 2, 17],
        [10, 1, 6],
        [16, 3, 0],
    ] {
        assert_eq!(ask(&filter, "socket", &args), Outcome::Allow, "{args:?}");
    }
    // Packet, vsock, alg, bluetooth, audit netlink, raw IP, ping, MPTCP, SCTP.
    for args in [
        [17, 3, 0],
        [40, 1, 0],
        [38, 5, 0],
        [31, 3, 0],
        [16, 3, 9],
        [2, 3, 1],
        [2, 2, 1],
        [2, 1, 262],
        [2, 1, 132],
    ] {
        assert_eq!(ask(&filter, "socket", &args), EAFNOSUPPORT, "{args:?}");
    }
    assert_eq!(ask(&filter, "socketpair", &[1, 1, 0]), Outcome::Allow);
    assert_eq!(ask(&filter, "socketpair", &[2, 1, 0]), EAFNOSUPPORT);
}

#[test]
fn dangerous_controls_are_refused_also_with_high_bits_set() {
    for filter in all() {
        for request in [0x5412, 0x541c, 0x5423] {
            assert_eq!(ask(&filter, "ioctl", &[0, request]), EPERM, "{request:#x}");
            assert_eq!(ask(&filter, "ioctl", &[0, HIGH | request]), EPERM, "{request:#x}");
        }
        assert_eq!(ask(&filter, "ioctl", &[0, 0x5401]), Outcome::Allow);
        assert_eq!(ask(&filter, "ioctl", &[0, 0x5413]), Outcome::Allow);
    }
}

#[test]
fn set_id_files_cannot_be_made() {
    let filter = hardened();
    const CREATE: u64 = 0o101;
    const TEMPORARY: u64 = 0o2020_0002;
    for bit in [0o4000, 0o2000, 0o6000] {
        let mode = bit | 0o755;
        assert_eq!(ask(&filter, "chmod", &[0, mode]), EPERM);
        assert_eq!(ask(&filter, "fchmod", &[0, HIGH | mode]), EPERM);
        assert_eq!(ask(&filter, "fchmodat", &[0, 0, mode]), EPERM);
        assert_eq!(ask(&filter, "fchmodat2", &[0, 0, mode]), EPERM);
        assert_eq!(ask(&filter, "creat", &[0, mode]), EPERM);
        for flags in [CREATE, TEMPORARY] {
            assert_eq!(ask(&filter, "open", &[0, flags, mode]), EPERM);
            assert_eq!(ask(&filter, "openat", &[0, 0, flags, mode]), EPERM);
        }
        // Without O_CREAT the register holds whatever was in it.
        assert_eq!(ask(&filter, "openat", &[0, 0, 0, mode]), Outcome::Allow);
        assert_eq!(ask(&filter, "mknod", &[0, 0o100_000 | mode]), EPERM);
    }
    assert_eq!(ask(&filter, "chmod", &[0, 0o1777]), Outcome::Allow);
    assert_eq!(ask(&filter, "openat", &[0, 0, CREATE, 0o644]), Outcome::Allow);
    assert_eq!(ask(&filter, "openat2", &[]), ENOSYS);
}

#[test]
fn device_nodes_cannot_be_made_and_pipes_can() {
    let filter = hardened();
    for (call, index) in [("mknod", 1), ("mknodat", 2)] {
        for (kind, expected) in [
            (0o010_000, Outcome::Allow),
            (0o100_000, Outcome::Allow),
            (0o140_000, Outcome::Allow),
            (0, Outcome::Allow),
            (0o020_000, EPERM),
            (0o060_000, EPERM),
        ] {
            let mut args = [0; 3];
            args[index] = kind | 0o644;
            assert_eq!(ask(&filter, call, &args), expected, "{call} {kind:o}");
        }
    }
}

#[test]
fn personality_and_prctl_are_allowed_by_value() {
    let filter = hardened();
    for (value, expected) in [
        (0, Outcome::Allow),
        (0xffff_ffff, Outcome::Allow),
        (0x0004_0000, EPERM),
        (8, EPERM),
        (0x002_0000, EPERM),
    ] {
        assert_eq!(ask(&filter, "personality", &[value]), expected, "{value:#x}");
    }
    for option in [1, 4, 15, 16, 36, 38, 0x5356_4d41] {
        assert_eq!(ask(&filter, "prctl", &[option]), Outcome::Allow, "{option}");
    }
    // PR_SET_SECCOMP, PR_SET_MM, PR_CAP_AMBIENT, PR_SCHED_CORE, PR_SET_SECUREBITS.
    for option in [22, 35, 47, 62, 28] {
        assert_eq!(ask(&filter, "prctl", &[option]), EINVAL, "{option}");
    }
}

#[test]
fn what_libraries_fall_back_from_is_missing_rather_than_forbidden() {
    let filter = hardened();
    for name in [
        "clone3",
        "openat2",
        "io_setup",
        "mq_open",
        "vmsplice",
        "statmount",
        "memfd_secret",
        "process_madvise",
    ] {
        assert_eq!(ask(&filter, name, &[]), ENOSYS, "{name}");
    }
}

#[test]
fn what_training_uses_is_allowed() {
    let filter = hardened();
    let used = "read write mmap mprotect futex futex_waitv rseq membarrier sched_setaffinity getrandom statx \
                faccessat2 close_range prlimit64 copy_file_range memfd_create shmget epoll_pwait2 eventfd2 \
                inotify_init1 pidfd_open pidfd_send_signal flock execve execveat vfork wait4 rt_sigreturn \
                arch_prctl set_robust_list mbind get_mempolicy set_mempolicy landlock_restrict_self mlock2 \
                accept4 connect sendmmsg recvmsg exit_group restart_syscall clock_nanosleep timerfd_settime";
    for name in used.split_whitespace() {
        assert_eq!(ask(&filter, name, &[]), Outcome::Allow, "{name}");
    }
}

#[test]
fn the_agent_can_do_its_work_and_start_or_open_nothing() {
    let filter = library().agent_filter();
    for name in "read writev poll wait4 kill accept4 sendto fdatasync exit_group".split(' ') {
        assert_eq!(ask(&filter, name, &[]), Outcome::Allow, "{name}");
    }
    for name in "execve openat open fork vfork clone clone3 socket connect bind ptrace prctl \
                 unlink rename setuid seccomp memfd_create process_vm_readv"
        .split_whitespace()
    {
        assert_eq!(ask(&filter, name, &[]), EPERM, "{name}");
    }
    // struct seccomp_notif to receive, and terminal injection.
    assert_eq!(ask(&filter, "ioctl", &[0, 0xc050_2100]), Outcome::Allow);
    assert_eq!(ask(&filter, "ioctl", &[0, 0x5412]), EPERM);
    assert_eq!(ask(&filter, "mmap", &[0, 4096, 3]), Outcome::Allow);
    assert_eq!(ask(&filter, "mmap", &[0, 4096, 5]), EPERM);
    assert_eq!(kernel::accepts(&filter.programs[0]), Ok(()));
}

/// Nobody answers questions until the command is executed: between the filter and
/// that there is only exec, and exit when it fails.
#[test]
fn a_profile_under_which_nothing_could_start_is_refused() {
    let library = library();
    for missing in ["execve", "exit_group"] {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": ["read", "execve", "exit_group"]}]}"#;
        assert_eq!(library.check_text("own.json", text), []);
        let without = text.replace(&format!(", \"{missing}\""), "");
        let problems = library.check_text("own.json", &without);
        assert!(problems.iter().any(|p| p.to_string().contains(missing)), "{problems:?}");
    }
}

#[test]
fn profiles_that_allow_a_call_are_named() {
    let library = library();
    let allowing = |name: &str, args| library.allowing(number(name).expect("a call"), args);
    assert!(allowing("read", [0; 6]).contains(&"default"));
    assert!(!allowing("mount", [0; 6]).contains(&"default"));
    assert!(allowing("socket", [1, 1, 0, 0, 0, 0]).contains(&"default"));
    assert!(!allowing("socket", [17, 3, 0, 0, 0, 0]).contains(&"default"));
}

#[test]
fn programs_are_small_enough_to_be_loaded_for_every_job() {
    for filter in all() {
        let instructions: usize = filter.programs.iter().map(|program| program.len() / 8).sum();
        assert!(instructions < 1200, "{}: {instructions} instructions", filter.name);
    }
}

#[test]
fn calls_without_conditions_are_found_in_few_steps() {
    let filter = hardened();
    for name in ["read", "write", "futex", "mmap", "madvise", "epoll_pwait2", "clock_gettime"] {
        let steps = kernel::steps(&filter.programs[0], &call(name, &[]));
        assert!(steps < 16, "{name}: {steps} instructions");
    }
}
