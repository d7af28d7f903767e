"""Memory of every kind that training uses."""

import ctypes
import mmap
import os
import tempfile

from groups.entries import machine_code
from harness import LIBC, call, call_result, errno_name, in_child

ADVICE = {
    "NORMAL": 0, "RANDOM": 1, "SEQUENTIAL": 2, "WILLNEED": 3, "DONTNEED": 4, "FREE": 8, "DONTFORK": 10, "DOFORK": 11, "HUGEPAGE": 14, "NOHUGEPAGE": 15,
    "DONTDUMP": 16, "DODUMP": 17, "WIPEONFORK": 18, "KEEPONFORK": 19, "COLD": 20, "PAGEOUT": 21, "POPULATE_READ": 22, "POPULATE_WRITE": 23,
}
RETURN_7 = bytes.fromhex("b807000000c3")


def run(probe, context):
    must, check = probe.must, probe.check
    must("anonymous", lambda: mmap.mmap(-1, 1 << 20).close(), "heaps")
    must("private", lambda: mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close(), "heaps")
    must("shared-with-child", shared_with_child, "fork and share")
    must("file", file_map, "data sets are mapped")
    must("file-private", lambda: file_map(mmap.MAP_PRIVATE), "copy on write")
    must("read-execute", lambda: in_child(lambda: machine_code(RETURN_7)) == 7, "JITs write code and run it")
    must("write-then-execute", lambda: in_child(write_then_execute) == 7, "or write, protect, run")
    must("execute-from-file", lambda: in_child(execute_file) == 7, "compiled kernels are loaded from the cache")
    must("dual-mapping", lambda: in_child(dual_mapping) == 7, "a memfd mapped twice, as V8 and libffi do")
    must("mprotect-none", protect_none, "guard pages")
    must("mremap", remapped, "realloc of large arrays")
    must("stack-executable-refused", lambda: "stack" in open("/proc/self/maps", encoding="ascii").read(), "the stack is there")
    for name, advice in ADVICE.items():
        must(f"madvise-{name}", lambda a=advice: advised(a), "allocators advise")
    must("mlock", lambda: locked(), "pinned buffers, within RLIMIT_MEMLOCK", strict="false")
    must("mincore", resident, "what is cached")
    must("msync", lambda: file_map(sync=True), "durable maps")
    must("brk", lambda: LIBC.sbrk(0) is not None, "the C heap")
    must("big-reserve", lambda: reserve(1 << 40), "CUDA and allocators reserve terabytes without touching them")
    must("touch-64-mib", lambda: touch(64 << 20), "memory for a batch")
    must("huge-page-fallback", huge, "MAP_HUGETLB may fail but must not kill")
    must("protection-keys", lambda: errno_name(call_result(330, 0, 0)[1]) != "EPERM", "pkey_alloc")
    must("system-v-memory", system_v, "MPI and oneCCL", strict="ENOSYS")
    must("system-v-semaphore", system_v_semaphore, "PostgreSQL and old MPI", strict="ENOSYS")
    must("memory-policy", lambda: reserve_policy(), "mbind to local memory")
    must("mseal", lambda: errno_name(call_result(462, 0, 0, 0)[1]) != "EPERM", "newer libcs seal their own code")
    check("map-at-zero", "EPERM|EACCES|ENOMEM", lambda: map_zero(), "no page at address 0: kernel null pointers stay harmless")
    check("map-grows-kernel", "ENOMEM|EINVAL|EPERM", lambda: call(9, 0xFFFF800000000000 - (1 << 64), 4096, 3, 0x32, -1, 0), "nor in the kernel's half")
    check("memory-files-shm-exec", "EPERM|EACCES", shm_exec, "nothing in /dev/shm is executed")


def shared_with_child():
    area = mmap.mmap(-1, 4096)
    pid = os.fork()
    if pid == 0:
        area[0] = 9
        os._exit(0)
    os.waitpid(pid, 0)
    return area[0] == 9


def file_map(flags=mmap.MAP_SHARED, sync=False):
    with tempfile.TemporaryFile(dir="/work") as file:
        file.truncate(1 << 16)
        with mmap.mmap(file.fileno(), 1 << 16, flags=flags) as area:
            area[:4] = b"data"
            if sync:
                area.flush()
            return area[:4] == b"data"


def anonymous(size=4096, protection=3, flags=0x22):
    address, code = call_result(9, 0, size, protection, flags, -1, 0)
    if address == -1:
        raise OSError(code, "mmap")
    return address


def write_then_execute():
    address = anonymous()
    ctypes.memmove(address, RETURN_7, len(RETURN_7))
    if call_result(10, address, 4096, 5)[0] != 0:
        return "mprotect refused"
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)()


def execute_file():
    with tempfile.TemporaryFile(dir="/tmp") as file:
        file.write(RETURN_7 + bytes(4096 - len(RETURN_7)))
        file.flush()
        address, code = call_result(9, 0, 4096, 5, 2, file.fileno(), 0)
        return ctypes.CFUNCTYPE(ctypes.c_long)(address)() if address != -1 else errno_name(code)


def dual_mapping():
    fd = os.memfd_create("probe-jit")
    os.ftruncate(fd, 4096)
    with mmap.mmap(fd, 4096) as area:
        area[: len(RETURN_7)] = RETURN_7
    address, code = call_result(9, 0, 4096, 5, 1, fd, 0)
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)() if address != -1 else errno_name(code)


def protect_none():
    return call_result(10, anonymous(), 4096, 0)[0] == 0


def remapped():
    return call_result(25, anonymous(1 << 16), 1 << 16, 1 << 20, 1, 0)[0] > 0


def advised(advice):
    result, code = call_result(28, anonymous(1 << 21), 1 << 21, advice)
    # EINVAL: a kernel without that advice; it must not be the filter's answer.
    return result == 0 or errno_name(code) == "EINVAL"


def locked():
    address = anonymous(1 << 16)
    return call_result(149, address, 1 << 16)[0] == 0 and call_result(150, address, 1 << 16)[0] == 0


def resident():
    return call_result(27, anonymous(), 4096, ctypes.create_string_buffer(1))[0] == 0


def reserve(size):
    address = anonymous(size, 0, 0x4022)
    return call_result(11, address, size)[0] == 0


def touch(size):
    with mmap.mmap(-1, size) as area:
        for at in range(0, size, 4096):
            area[at] = 1


def huge():
    result, code = call_result(9, 0, 2 << 20, 3, 0x40022, -1, 0)
    return result > 0 or errno_name(code) == "ENOMEM"


def system_v():
    identity, code = call_result(29, 0, 4096, 0o1600)
    if identity == -1:
        return errno_name(code)
    address = call_result(30, identity, 0, 0)[0]
    return address > 0 and call_result(67, address)[0] == 0 and call_result(31, identity, 0, 0)[0] == 0


def system_v_semaphore():
    identity, code = call_result(64, 0, 1, 0o1600)
    return call_result(66, identity, 0, 0)[0] == 0 if identity != -1 else errno_name(code)


def reserve_policy():
    result, code = call_result(237, anonymous(), 4096, 0, 0, 0, 0)
    return result == 0 or errno_name(code) in ("EINVAL", "ENOSYS")


def map_zero():
    result, code = call_result(9, 0, 4096, 3, 0x32, -1, 0)
    return "mapped" if result != -1 else errno_name(code)


def shm_exec():
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.truncate(4096)
        result, code = call_result(9, 0, 4096, 5, 2, file.fileno(), 0)
        return "mapped" if result != -1 else errno_name(code)
