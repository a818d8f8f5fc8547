# SPDX-License-Identifier: Apache-2.0
"""
The service of the soak: threads that make cycles, classes, exceptions, forks and programs, and check for
themselves what comes of it. Over standard input: `pause` brings all of them to a halt, collects, and answers
with gc.get_stats() and the errors so far; `resume` lets them go on; the end of input ends it.
"""
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback
import weakref

CHILD_S = 30  # the longest that a forked child, or a cycle, may take


class Node:
    pass


class Final:
    made = ended = 0

    def __init__(self):
        Final.made += 1

    def __del__(self):
        Final.ended += 1


errors, counts = [], {}
gate, waiting = threading.Condition(), 0
paused = over = False


def wait_for(pid):
    """The exit status of a child, which is killed when it hangs."""
    end = time.monotonic() + CHILD_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("child %d did not end" % pid)


def cycles():
    keep = []
    for i in range(1000):
        a, b = Node(), Node()
        a.b, b.a = b, [a, {i: b}]
        keep.append((a, i))


def finalizers():
    w = []
    for _ in range(100):
        f = Final()
        f.me = f
        w.append(weakref.ref(f))
    del f
    end = time.monotonic() + CHILD_S
    while any(r() for r in w):  # while another thread collects, gc.collect() does nothing
        assert time.monotonic() < end, "a cycle outlived its collection"
        gc.collect()


def classes():
    for i in range(20):
        cls = type("C%d" % random.randrange(10 ** 6), (Node,), {"x": i, "__module__": "m%d" % (i % 5)})
        o = [cls() for _ in range(20)]
        o[0].me = o
        cls.__qualname__ = "Q%d" % i


def exceptions():
    for _ in range(200):
        try:
            try:
                {}["x"]
            except KeyError as e:
                raise ValueError(str(e)) from e
        except ValueError as e:
            kept = e
    assert isinstance(kept.__cause__, KeyError)


def generations():
    gc.collect(random.randrange(3))
    gc.disable()
    time.sleep(.01)
    gc.enable()
    gc.set_threshold(random.choice([700, 50, 2000]), 10, 10)


def freezing():
    gc.freeze()
    time.sleep(.005)
    gc.unfreeze()


def child():
    keep = [Node() for _ in range(random.choice([10, 1000, 20000]))]
    for n in keep:
        n.me = n
    del keep, n
    gc.collect()
    time.sleep(random.choice([0, .01, .1, .4]))
    if random.random() < .3:
        grandchild = os.fork()
        if not grandchild:
            gc.collect()
            os._exit(3)
        assert os.waitpid(grandchild, 0)[1] == 3 << 8


def forks():
    pid = os.fork()
    if not pid:
        try:
            child()
            os._exit(7)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert wait_for(pid) == 7 << 8


# A fork that Python does not know of, by an extension that keeps the GIL. Not among other threads of the
# application: before the fork one of them may have asked for the GIL, and the child would wait for it for ever.
RAW_FORK = """
import ctypes, gc, os
libc = ctypes.PyDLL(None)
for i in range(5):
    pid = libc.fork()
    if not pid:
        x = [[] for _ in range(5000)]
        gc.collect()
        libc._exit(5)
    assert os.waitpid(pid, 0)[1] == 5 << 8
print("end")
"""


def programs():
    done = subprocess.run([sys.executable, "-c", RAW_FORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"end\n", b""), done
    assert subprocess.run(["/bin/sh", "-c", "exit 4"]).returncode == 4


def threads():
    ts = [threading.Thread(target=lambda: [{} for _ in range(2000)]) for _ in range(8)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()


# What, and how long it rests between two turns.
WORK = [(cycles, .005), (cycles, .01), (finalizers, .05), (classes, .02), (exceptions, .02), (generations, .1), (freezing, .5),
        (forks, .1), (programs, .3), (threads, .05)]


def pass_gate():
    """True: go on."""
    global waiting
    with gate:
        waiting += 1
        gate.notify_all()
        gate.wait_for(lambda: not paused)
        waiting -= 1
        return not over


def worker(work, rest):
    while pass_gate():
        try:
            work()
            counts[work.__name__] = counts.get(work.__name__, 0) + 1
        except Exception:
            errors.append("%s: %s" % (work.__name__, traceback.format_exc()))
        time.sleep(rest)


def pause():
    global paused
    with gate:
        paused = True
        if not gate.wait_for(lambda: waiting == len(WORK), 60):
            errors.append("%d of %d threads hang" % (len(WORK) - waiting, len(WORK)))
    gc.enable()
    gc.collect()
    gc.disable()
    if not 0 <= Final.made - Final.ended < 3:
        errors.append("%d finalizers ran for %d objects" % (Final.ended, Final.made))
    return {"stats": gc.get_stats(), "errors": errors, "counts": counts, "fds": len(os.listdir("/proc/self/fd")),
            "garbage": len(gc.garbage), "debug": gc.get_debug()}


def resume():
    global paused
    gc.enable()
    with gate:
        paused = False
        gate.notify_all()


def main():
    global over
    ts = [threading.Thread(target=worker, args=w) for w in WORK]
    for t in ts:
        t.start()
    print("ready", flush=True)
    for line in sys.stdin:
        answer = pause() if line == "pause\n" else resume()
        print(json.dumps(answer), flush=True)
    over = True
    resume()
    for t in ts:
        t.join(60)
    sys.exit(1 if errors or any(t.is_alive() for t in ts) else 0)


if __name__ == "__main__":
    main()
