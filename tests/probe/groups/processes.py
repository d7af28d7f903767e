"""multiprocessing in its three ways, and what data loaders do with it."""

import multiprocessing as mp
import os
import signal
import subprocess
import time

from harness import in_child, status_field


def square(number):
    return number * number


def fill(name):
    from multiprocessing import shared_memory
    segment = shared_memory.SharedMemory(name=name)
    segment.buf[1] = segment.buf[0] + 1
    segment.close()


def produce(box, count):
    for number in range(count):
        box.put(number)


def raise_value(value, lock):
    for _ in range(50):
        with lock:
            value.value += 1


def answer(pipe):
    pipe.send(pipe.recv() + 1)
    pipe.close()


def run(probe, context):
    for method in ("fork", "spawn", "forkserver"):
        way = mp.get_context(method)
        probe.must(f"pool-{method}", lambda w=way: pool(w), "data loaders")
        probe.must(f"queue-{method}", lambda w=way: queued(w), "batches are handed over")
        probe.must(f"pipe-{method}", lambda w=way: piped(w), "and answers")
        probe.must(f"value-{method}", lambda w=way: counted(w), "shared counters: semaphores in /dev/shm")
        probe.must(f"shared-memory-{method}", lambda w=way: shared(w), "shared tensors")
        probe.must(f"event-{method}", lambda w=way: event(w), "events between workers")
    probe.must("executor", executor, "concurrent.futures")
    probe.must("named-semaphore", semaphore, "sem_open")
    probe.must("barrier", barrier, "workers in step")
    probe.must("kill-worker", kill_worker, "a worker that hangs is ended")
    probe.must("many-workers", many, "30 processes at once")
    probe.must("reaped", reaped, "no zombie stays")
    probe.check("manager", "1", manager, "a manager and its proxies, over a socket in /tmp")


def pool(way):
    with way.Pool(2) as workers:
        return workers.map(square, range(6)) == [0, 1, 4, 9, 16, 25]


def queued(way):
    box = way.Queue()
    worker = way.Process(target=produce, args=(box, 20))
    worker.start()
    got = [box.get(timeout=20) for _ in range(20)]
    worker.join(20)
    return got == list(range(20))


def piped(way):
    ours, theirs = way.Pipe()
    worker = way.Process(target=answer, args=(theirs,))
    worker.start()
    ours.send(41)
    right = ours.recv() == 42
    worker.join(20)
    return right


def counted(way):
    value, lock = way.Value("i", 0, lock=False), way.Lock()
    workers = [way.Process(target=raise_value, args=(value, lock)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    return value.value == 100


def shared(way):
    from multiprocessing import shared_memory
    segment = shared_memory.SharedMemory(create=True, size=1 << 16)
    try:
        segment.buf[0] = 4
        worker = way.Process(target=fill, args=(segment.name,))
        worker.start()
        worker.join(20)
        return segment.buf[1] == 5
    finally:
        segment.close()
        segment.unlink()


def wait_and_set(one, two):
    if one.wait(20):
        two.set()


def event(way):
    one, two = way.Event(), way.Event()
    worker = way.Process(target=wait_and_set, args=(one, two))
    worker.start()
    one.set()
    right = two.wait(20)
    worker.join(20)
    return right


def executor():
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=mp.get_context("fork")) as workers:
        return sum(workers.map(square, range(5))) == 30


def semaphore():
    held = mp.get_context("fork").Semaphore(1)
    return held.acquire(timeout=5)


def barrier():
    way = mp.get_context("fork")
    gate = way.Barrier(2)
    worker = way.Process(target=gate.wait, args=(20,))
    worker.start()
    gate.wait(20)
    worker.join(20)


def kill_worker():
    worker = mp.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    worker.kill()
    worker.join(20)
    return worker.exitcode == -signal.SIGKILL


def many():
    children = [subprocess.Popen(["sleep", "0.05"]) for _ in range(30)]
    return [child.wait() for child in children] == [0] * 30


def reaped():
    subprocess.check_call(["sh", "-c", "(sh -c 'sleep 0.01' &)"])
    for _ in range(100):
        states = [in_child(lambda p=p: status_field("State", p)) for p in os.listdir("/proc") if p.isdigit()]
        if not any(str(s).startswith("Z") for s in states):
            return True
        time.sleep(0.02)
    return False


def manager():
    with mp.get_context("fork").Manager() as shared_state:
        numbers = shared_state.dict()
        numbers["x"] = 1
        return str(numbers["x"])
