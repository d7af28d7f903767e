"""Numbers that the next kernels may use: a profile that lists what is allowed misses none."""

from harness import call, in_child

ALLOWED = {462}  # mseal
NAMED = {467: "EPERM|ENOSYS"}  # open_tree_attr: a compiler that knows its name says EPERM


def run(probe, context):
    for number in range(457, 601):
        if number in ALLOWED:
            continue
        expect = NAMED.get(number, "ENOSYS")
        # In this process: a call that exists and got through would answer
        # EFAULT, EBADF or EINVAL to such arguments.
        probe.check(f"{number}", expect, lambda n=number: call(n, -1, -1, -1, -1, -1, -1), "nobody has judged what it does")
    # The kernel's own trampolines for probes: since Linux 6.14 no filter sees
    # these two, and they refuse whoever did not come from one.
    for number in (335, 336):
        probe.check(f"{number}", "ENOSYS|ENXIO|SIGILL|SIGSEGV", lambda n=number: in_child(lambda: call(n, 0)), "a call for the kernel's own trampolines")
    for number in list(range(343, 424, 8)) + [1000, 5000, 100000]:
        probe.check(f"{number}", "ENOSYS", lambda n=number: in_child(lambda: call(n, -1, -1, -1, -1, -1, -1)), "a number without a call")
