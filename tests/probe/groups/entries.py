"""The other ways into the kernel: the 32-bit and the x32 entry, odd numbers, raw instructions."""

import ctypes
import mmap

from harness import Want, call, call_result, errno_name, in_child

X32 = 0x40000000
#: Numbers of the 32-bit table; arguments are 0.
I386 = {
    "exit": 1, "fork": 2, "read": 3, "open": 5, "getpid": 20, "mount": 21, "ptrace": 26, "reboot": 88, "uname": 122,
    "socketcall": 102, "clone": 120, "modify_ldt": 123, "vm86": 166, "vm86old": 113, "setuid32": 213, "unshare": 310, "clone3": 435,
    "io_uring_setup": 425, "keyctl": 288, "bpf": 357,
}


def machine_code(code, *words):
    """Runs machine code with up to two words as arguments and gives back rax."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * len(words))(address)
    return function(*words)


def int80(number):
    # push rbx; mov eax, edi; xor ebx, ecx, edx, esi, edi; int 0x80; pop rbx; ret
    code = bytes.fromhex("53 89f8 31db 31c9 31d2 31f6 31ff cd80 5b 4898 c3")
    return in_child(lambda: answer(machine_code(code, number)))


def sysenter():
    # sysenter from 64-bit mode returns to where the vDSO is not: it can only fault.
    return in_child(lambda: answer(machine_code(bytes.fromhex("b814000000 31db 0f34 c3"))))


def far_call():
    """A jump into the 32-bit code segment, as Wine does: the filter, not the segment, holds."""
    # call far through a pointer whose target is a 32-bit page: int 0x80 (getpid), then nothing
    # sensible can return; a fault or a signal is the answer that is right.
    return in_child(lambda: answer(machine_code(bytes.fromhex("6a23 48b80000000000000000 50 48cb"))))


def answer(value):
    return errno_name(-value) if -4095 <= value < 0 else f"ok {value}"


def run(probe, context):
    check = probe.check
    refused = "SIGSYS|SIGSEGV|SIGKILL|ENOSYS|EPERM"
    for name, number in I386.items():
        check(f"int80-{name}", refused, lambda n=number: int80(n), "numbers mean other calls there, and no rule was written for them")
    check("sysenter", refused + "|SIGILL|SIGBUS", sysenter, "the same by the other instruction")
    check("far-return-32", refused + "|SIGILL|SIGBUS", far_call, "32-bit code has no way in either")
    for name, number in {
        "read": 0, "getpid": 39, "mmap": 9, "execve": 520, "ioctl": 514, "ptrace": 521, "rt_sigaction": 512, "clone": 56,
        "mount": 165, "recvfrom": 517, "process_vm_readv": 539, "preadv": 534, "openat": 257, "unshare": 272, "bpf": 321,
        "first-own": 512, "last-own": 547, "beyond": 548,
    }.items():
        check(f"x32-{name}", "SIGSYS|ENOSYS|EPERM", lambda n=number: in_child(lambda: call(X32 | n, 0, 0, 0, 0, 0, 0)),
              "x32 numbers pass by rules for the plain ones")
    for name, number in {
        "minus-one": -1, "minus-two": -2, "int-max": 0x7FFFFFFF, "int-min": 0x80000000, "bit-62": 1 << 62, "bit-63-getpid": (1 << 63) | 39,
        "x32-and-top": 0xC0000000, "just-below-x32": X32 - 1, "4096": 4096, "0xffff": 0xFFFF,
    }.items():
        # The kernel looks at 32 bits, so a high bit makes an ordinary call of it.
        expect = "ENOSYS|EPERM|SIGSYS" if name != "bit-63-getpid" else "ENOSYS|EPERM|SIGSYS|ok"
        if name == "bit-62":
            expect = "ENOSYS|EPERM|SIGSYS|EFAULT|EBADF|ok"
        check(f"number-{name}", expect, lambda n=number: in_child(lambda: call(n, -1, 0, 0, 0, 0, 0)), "a number that is none")
    check("syscall-instruction", Want("the same as libc's", lambda a: a == "ok"),
          lambda: "ok" if in_child(lambda: machine_code(bytes.fromhex("b827000000 0f05 c3")) > 1) else "differs",
          "code that a JIT writes passes the same filter")
    check("syscall-instruction-mount", "EPERM", lambda: in_child(
        lambda: answer(machine_code(bytes.fromhex("b8a5000000 31ff 31f6 31d2 4d31d2 4d31c0 0f05 c3")))), "and is refused the same")
    check("vsyscall", Want("a time or SIGSEGV", lambda a: a == "SIGSEGV" or isinstance(a, int)), vsyscall, "the old fixed page gives nothing but the time")
    check("high-half-ignored", "EPERM", lambda: ioctl_high(), "the kernel compares 32 bits of an ioctl, and so does the filter")


def vsyscall():
    return in_child(lambda: ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(0xFFFFFFFFFF600400)(0))


def ioctl_high():
    result, code = call_result(16, 0, (1 << 32) | 0x5412, 0)
    return errno_name(code) if result == -1 else "ok"
