# SPDX-License-Identifier: Apache-2.0
"""
Guards against traces of the agent in the process itself: a program writes down all that it can learn of its
process and its interpreter, when it begins and after a second of censuses, collections, threads and children,
without the agent and with it. And against growth: objects, blocks, references and memory over hundreds of censuses.

GCSCOPE_CENSUSES  over how many censuses growth is measured (default: 200; 10000 takes four minutes)
"""
import json
import os

import pytest

from conftest import SELF, wait_until

CENSUSES = int(os.environ.get("GCSCOPE_CENSUSES", "200"))
SETTINGS = {"GCSCOPE_INTERVAL": "0.02", "GCSCOPE_BUDGET": "100", "GCSCOPE_CYCLES": "all"}

LOOK = SELF + r'''
import atexit, builtins, gc, json, locale, os, resource, signal, subprocess, sys, threading, time, warnings

def read(path):
    with open(path) as f:
        return f.read()

def subclasses(cls, seen):
    for c in type.__subclasses__(cls):
        if c not in seen:
            seen.add(c)
            subclasses(c, seen)
    return seen

def look():
    """What is to be the same, JSON-wise."""
    signals = sorted(set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    return {
        "descriptors": descriptors(),
        "lowest_descriptor": lowest_descriptor(),
        "descriptor_flags": [os.get_inheritable(fd) for fd in range(3)],
        "threads": [(t.name, t.daemon) for t in threading.enumerate()],
        "thread_states": [threading.active_count(), len(sys._current_frames()), threading.stack_size()],
        "signal_mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "signals_pending": sorted(signal.sigpending()),
        "signal_handlers": [str(signal.getsignal(s)).split(" at 0x")[0] for s in signals],
        "wakeup_fd": signal.set_wakeup_fd(-1),
        "kernel": kernel(),
        "children": children(),
        "cwd": os.getcwd(),
        "locale": [locale.setlocale(c) for c in range(6)] + [str(locale.localeconv())],
        "environ": [(k, v) for k, v in os.environ.items() if k != "LD_PRELOAD"],
        "limits": [resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource)) if n.startswith("RLIMIT_")],
        "nice": [os.nice(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)],
        "affinity": sorted(os.sched_getaffinity(0)),
        "session": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
        "timers": [signal.getitimer(t) for t in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "alarm": round(signal.getitimer(signal.ITIMER_REAL)[0], -2),
        "proc": [read("/proc/self/" + n) for n in ("oom_score_adj", "timerslack_ns", "coredump_filter", "personality")],
        "modules": sorted(sys.modules),
        "meta_path": [str(x).split(" at 0x")[0] for x in sys.meta_path],
        "path": sys.path + [len(sys.path_hooks)],
        "argv": sys.argv + [str(sys.flags), str(sorted(sys._xoptions))],
        "names": [sorted(vars(m)) for m in (sys, builtins, gc, os, threading, signal)],
        "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__,
                  sys.unraisablehook is sys.__unraisablehook__, threading.excepthook.__module__],
        "tracing": [str(f) for f in (sys.gettrace(), sys.getprofile(), threading._trace_hook, threading._profile_hook)],
        "switch_interval": [sys.getswitchinterval(), sys.getrecursionlimit(), sys.getdlopenflags()],
        "warnings": [str(f) for f in warnings.filters],
        "streams": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
        "gc": [gc.get_debug(), gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), len(gc.garbage)],
        "gc_callbacks": [c.__name__ for c in gc.callbacks if "gcscope" not in c.__name__],
        "types": sorted(c.__module__ + "." + c.__qualname__ for c in subclasses(object, set())),
    }
'''

PROGRAM = LOOK + r'''
signal.alarm(10000)
arrived = []
handler_before = signal.signal(signal.SIGCHLD, lambda *_: arrived.append(1))
before = look()
events = []
sys.addaudithook(lambda event, args: events.append(event) if sys is not None and not events_over else None)
events_over = False

end = time.monotonic() + .7
while time.monotonic() < end:
    time.sleep(.05)
events_over = True
quiet = {"audit_events": [e for e in events if e not in ("time.sleep",)], "sigchld": len(arrived)}

masks = []
def work():
    x = [[i] for i in range(3000)]
    x.append(x)
    masks.append(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
workers = [threading.Thread(target=work) for _ in range(3)]
for t in workers: t.start()
for t in workers: t.join()
gc.collect()
outputs = [subprocess.run(["/usr/bin/env"], stdout=subprocess.PIPE).stdout.decode() for _ in range(3)]
pid = os.fork()
if pid == 0:
    os._exit(7 if lowest_descriptor() == before["lowest_descriptor"] else 8)
forked = os.waitpid(pid, 0)[1]
time.sleep(.1)
quiet.update(masks=masks, forked=forked, all_sigchld=len(arrived),
             child_environ=["\n".join(x for x in o.split("\n") if not x.startswith("LD_PRELOAD=")) for o in outputs])
after = look()
print(json.dumps([before, quiet, after, sum("gcscope" in c.__name__ for c in gc.callbacks)]))
'''


def same(under, plain, what):
    assert set(under) == set(plain)
    assert {k: v for k, v in under.items() if v != plain[k]} == {k: v for k, v in plain.items() if v != under[k]}, what


@pytest.mark.limit(120)
def test_nothing_to_be_seen(python, run):
    plain, under = [run(python, PROGRAM, with_agent=w, **SETTINGS) for w in (False, True)]
    assert (plain.status, under.status) == (0, 0), (plain, under)
    assert under.stderr == plain.stderr
    plain, under = json.loads(plain.stdout), json.loads(under.stdout)
    assert (plain.pop(), under.pop()) == (0, 1), "the agent's callback"
    for what, a, b in zip(("before", "meanwhile", "after"), under, plain):
        same(a, b, what)


TRACED = r'''
import gc, sys, threading, time
main, other = [], []
def note(frame, event, arg):
    """By thread; how threads wait for each other is their own affair."""
    if frame.f_code.co_filename != threading.__file__:
        (main if threading.get_ident() == threading.main_thread().ident else other).append(
            (event, frame.f_code.co_name, frame.f_lineno, getattr(arg, "__name__", None)))
    return note
def work():
    for i in range(40):
        x = [[] for _ in range(50)]
        x.append(x)
        time.sleep(.005)
        gc.collect(i % 3)
def watched():
    threading.settrace(note); threading.setprofile(note); sys.settrace(note); sys.setprofile(note)
    t = threading.Thread(target=work)
    t.start(); t.join()
    work()
    sys.setprofile(None); sys.settrace(None); threading.setprofile(None); threading.settrace(None)
if hasattr(sys, "monitoring"):
    m, counts = sys.monitoring, []
    m.use_tool_id(m.DEBUGGER_ID, "test")
    m.register_callback(m.DEBUGGER_ID, m.events.CALL, lambda code, at, f, arg: counts.append((code.co_name, at)))
    m.set_events(m.DEBUGGER_ID, m.events.CALL)
    work()
    m.set_events(m.DEBUGGER_ID, 0)
    print(counts)
watched()
print(main)
print(other)
'''


def test_tracers_see_nothing(python, run):
    """sys.settrace, sys.setprofile and sys.monitoring, in the main thread and another."""
    plain, under = [run(python, TRACED, with_agent=w, **SETTINGS) for w in (False, True)]
    assert plain.status == 0 and b"work" in plain.stdout, plain
    assert under == plain


GROWTH = LOOK + r'''
SINGLETONS = [None, True, False, Ellipsis, NotImplemented, (), "", b"", 0, 1, -1, frozenset(), int, type, object, dict,
              list, tuple, str, float, type(gc.collect), type(look), gc, sys, os, gc.callbacks, gc.garbage,
              builtins.__dict__]

def rss():
    with open("/proc/self/smaps_rollup") as f:
        return [int(line.split()[1]) for line in f if line.startswith("Anonymous:")][0]

busy = threading.Event()

def churn():
    """Work of all kinds, which leaves nothing."""
    for _ in range(20):
        x = [[{}] for _ in range(200)]
        x.append(x)
    del x
    t = threading.Thread(target=len, args=((),))
    t.start()
    t.join()

def work():
    while busy.is_set():
        churn()
        time.sleep(.01)

def start_work():
    global worker
    busy.set()
    worker = threading.Thread(target=work)
    worker.start()

def measure():
    busy.clear()
    worker.join()
    for _ in range(3):
        churn()
        gc.collect()
    return {"references": [sys.getrefcount(x) for x in SINGLETONS], "objects": len(gc.get_objects()),
            "types": len(subclasses(object, set())), "blocks": sys.getallocatedblocks(), "callbacks": len(gc.callbacks),
            "descriptors": len(descriptors()), "rss_kib": rss()}
'''


@pytest.mark.limit(90 + CENSUSES // 10)
def test_no_growth(python, target):
    t = target(python, GROWTH, **SETTINGS)

    def after(censuses):
        goal = t.censuses() + censuses
        # Not bidden for each: what is read and parsed leaves blocks behind on free-threaded builds.
        t.exec("start_work()")
        wait_until(lambda: t.censuses() >= goal, 60 + censuses / 10, "%d censuses" % censuses)
        return t.eval("measure()")
    first, second = after(40), after(CENSUSES)
    grown = {k: second[k] - first[k] for k in first if k != "references"}
    print(python, grown, [b - a for a, b in zip(first["references"], second["references"])])
    blocks, rss = grown.pop("blocks"), grown.pop("rss_kib")
    assert grown == dict.fromkeys(grown, 0)
    # One a census would be hundreds.
    assert blocks < CENSUSES / 10
    assert rss < 1024
    for a, b in zip(first["references"], second["references"]):
        assert abs(b - a) < CENSUSES / 10, (first["references"], second["references"])
