# SPDX-License-Identifier: Apache-2.0
"""
Guards against the two ways in which a leak finder is useless: it misses what grows, or it cries over what
fills up, comes back down or has ended. One program holds all patterns at once, so that each is judged in
the noise of the others.
"""
import json
import os
import re

import pytest

from conftest import SLOW, wait_until

PATTERNS = '''
import collections, functools, gc, threading, time

class Leak: pass
class UnderTeeth: pass
class LeakSlow: pass
class Cached: pass
class Tooth: pass
class Step: pass
class Plateau: pass
class Cyclic: pass
class Pool: pass
class LeakLater: pass

class Handler:
    """A true leak through a bound method, as a filter keeps its owner."""
    def __init__(self): self.buffer = bytearray(100)
    def filter(self, record): return True

kept, under, slow, teeth, steps, plateau, pool, later, filters = ([] for _ in range(9))
registry = {}

@functools.lru_cache(maxsize=60)
def cached(n): return Cached()

def tick(i):
    """Called about four times for each census."""
    kept.append(Leak())
    filters.append(Handler().filter)
    under.append(UnderTeeth())
    noise.extend(UnderTeeth() for _ in range(5))
    if i % 40 == 39: noise.clear()
    if i % 6 == 0: slow.append(LeakSlow())
    cached(i)
    teeth.extend(Tooth() for _ in range(3))
    if i % 28 == 27: teeth.clear()
    if i == 50: steps.extend(Step() for _ in range(500))
    if i < 70: plateau.append(Plateau())
    c = Cyclic(); c.me = c
    if i % 44 == 43: gc.collect()
    if i % 9 == 0 and len(pool) < 8: pool.append(Pool())
    if i > 100: later.extend([LeakLater(), LeakLater()])

noise = []
stopped = threading.Event()

def drive():
    """Goes by time, not by count: a slow machine must not stretch the pattern."""
    i = 0
    began = time.monotonic()
    while not stopped.is_set():
        tick(i)
        i += 1
        time.sleep(max(0, began + i * .025 - time.monotonic()))

gc.disable()
'''

LEAKS = {"__main__.Leak", "__main__.Handler", "__main__.UnderTeeth", "__main__.LeakSlow"}
BOUNDED = {"__main__." + n for n in ("Cached", "Tooth", "Step", "Plateau", "Cyclic", "Pool")}
AT_LEAST_LIKELY = ("likely", "confirmed")


def start(t):
    t.exec("thread = threading.Thread(target=drive, daemon=True); thread.start()")


def drive(t, censuses, topics):
    """For so many censuses; the answer to `suspects` then, and the events of all that time."""
    with t.connect() as events:
        events.ask("subscribe", topics=topics)
        base = t.censuses()
        start(t)
        wait_until(lambda: t.censuses() >= base + censuses, timeout=40, what="%d censuses" % censuses)
        answer = t.ask("suspects")
        t.exec("stopped.set(); thread.join()")
        events.ask("info")
        return answer, events.events


@pytest.mark.limit(90)
def test_patterns(python, target):
    t = target(python, PATTERNS, GCSCOPE_INTERVAL="0.1")
    answer, log = drive(t, 60, "suspects,log")
    rows = {s["type"]: s for s in answer["suspects"]}
    level = {k: v["confidence"] for k, v in rows.items()}
    assert answer["schema"] == "gcscope.suspects/1" and answer["samples"] >= 60
    for name in LEAKS:
        assert level.get(name) in AT_LEAST_LIKELY, (name, level)
    for name in BOUNDED:
        assert level.get(name) not in AT_LEAST_LIKELY, (name, rows[name])
    # 40 a second by the program's own clock.
    leak = rows["__main__.Leak"]
    assert 30 <= leak["growth_per_s"] <= 50, leak
    assert rows["__main__.Leak"]["count"] <= t.eval("len(kept)") <= leak["count"] + 40
    for row in rows.values():
        assert row["confidence"] in ("confirmed", "likely", "watch")
        assert re.match(r"[0-9a-f]{16}$", row["fingerprint"])
        assert re.match(r"20\d\d-\d\d-\d\dT.*Z$", row["first_seen"])
        assert {"samples", "span_s", "min_first", "min_last", "rising", "blocks", "full_collections",
                "by"} <= set(row["evidence"])
        assert row["path"] is None and row["sites"] is None and row["advice"] is None
    order = [s["confidence"] for s in answer["suspects"]]
    assert order == sorted(order, key=["confirmed", "likely", "watch"].index), order

    # What was said on the way: bounded ones only while they could not be told from a leak, and taken back.
    new = [e["type"] for e in log if e["event"] == "suspect" and e["schema"] == "gcscope.log/1" and e.get("new")]
    assert LEAKS <= set(new)
    for name in BOUNDED:
        said = [e for e in log if e.get("type") == name and e["schema"] == "gcscope.log/1"]
        assert not said or said[-1]["event"] == "withdrawn", said[-1]
    for name in ("__main__.Leak", "__main__.Handler"):
        said = [e for e in log if e.get("type") == name and e["schema"] == "gcscope.log/1" and e["event"] == "suspect"]
        assert len(said) > 10, "one line for each suspect and interval"
        assert [e["new"] for e in said].count(True) == 1 and said[0]["new"] is True
        changes = [e["confidence"] for e in log if e.get("type") == name and e["schema"] == "gcscope.events/1"]
        assert len(changes) == len(set(changes)) and "confirmed" in changes, changes


WAITING = '''
import gc, threading, time

class Part:
    def __init__(self, whole):
        self.whole, self.parts = whole, []

class Waits:
    """It is in use when the young collections come. Its parts do not lead back to it."""
    def __init__(self):
        self.callback, self.top = self.done, Part(None)
        self.top.parts = [Part(self.top) for _ in range(3)]
    def done(self): pass

class Held(Waits): pass
class Leak: pass

held, kept, stopped = [], [], threading.Event()

def drive():
    while not stopped.is_set():
        w = Waits()
        gc.collect(1)
        del w
        held.append(Held())
        kept.append(Leak())
        time.sleep(.02)

gc.disable()
gc.collect()
'''


@pytest.mark.limit(60)
def test_garbage_that_waits_for_a_full_collection(python, target):
    """It grows as a leak does, but is none; what is in cycles too and held by something is one."""
    t = target(python, WAITING, GCSCOPE_INTERVAL="0.1")
    answer, log = drive(t, 40, "log")
    rows = {s["type"]: s for s in answer["suspects"]}
    named = {e["type"] for e in log if e["event"] == "suspect"}
    assert {"__main__.Held", "__main__.Leak"} <= named, named
    assert "__main__.Waits" not in named, rows["__main__.Waits"]
    assert rows["__main__.Leak"]["evidence"]["garbage"] == 0
    if not python.free_threaded:  # there each collection is of all objects
        waits = rows["__main__.Waits"]
        assert waits["confidence"] == "watch" and waits["evidence"]["garbage"] > 10, waits
        assert b"garbage that no collection has met" in t.cli("suspects").stdout


@pytest.mark.limit(60)
def test_trials_look_behind_the_newest_objects(few_pythons, target):
    """One of them sees 4096 at most."""
    if few_pythons.free_threaded:
        pytest.skip("no lists, no trials")
    t = target(few_pythons, WAITING.replace("held.append(Held())", "kept.extend(Leak() for _ in range(500))"), GCSCOPE_INTERVAL="0.1")
    start(t)

    def leak():
        return {s["type"]: s["evidence"] for s in t.ask("suspects")["suspects"]}.get("__main__.Leak", {})
    wait_until(lambda: leak().get("sampled", 0) > 4096, timeout=40)
    assert leak()["garbage"] == 0


EMPTIED = '''
import gc, threading, time

class Leak: pass
class Dict(dict): pass
class Set(set): pass
def emptied_set(kind):
    s = kind(range(600000))
    while s: s.pop()
    return s
def emptied_dict(kind):
    d = kind.fromkeys(range(600000))
    d["x"] = []
    for k in range(600000): del d[k]
    return d
emptied = [emptied_set(set), emptied_set(Set), emptied_dict(dict), emptied_dict(Dict)]
kept, stopped = [[None] * 300000 for _ in range(4)], threading.Event()

def drive():
    """Few objects, so that what is large is among the newest for long."""
    while not stopped.is_set():
        kept.append(Leak())
        gc.collect(1)
        time.sleep(.03)

gc.disable()
'''


@pytest.mark.limit(90)
def test_a_trial_holds_the_gil_briefly(few_pythons, target):
    """Tables of millions of empty slots are passed over without a call that could end it."""
    if few_pythons.free_threaded:
        pytest.skip("no lists, no trials")
    t = target(few_pythons, EMPTIED, GCSCOPE_INTERVAL="0.1")
    start(t)

    def sampled():
        rows = {s["type"]: s["evidence"] for s in t.ask("suspects")["suspects"]}
        return rows.get("__main__.Leak", {}).get("sampled", 0)
    wait_until(lambda: sampled() > 0, timeout=60)
    assert t.ask("stat")["agent"]["max_gil_hold_cpu_ns"] <= 1e6


@pytest.mark.limit(60)
def test_a_leak_that_ended_is_withdrawn(one_python, target):
    t = target(one_python, PATTERNS, GCSCOPE_INTERVAL="0.05")
    with t.connect() as events:
        events.ask("subscribe", topics="log,suspects")
        start(t)

        def confirmed():
            return {s["type"]: s["confidence"] for s in t.ask("suspects")["suspects"]}.get("__main__.Leak") == "confirmed"
        wait_until(confirmed, timeout=30, what="confirmed")
        t.exec("stopped.set(); thread.join(); kept.clear(); filters.clear()")

        def withdrawn():
            events.ask("info")
            gone = [e for e in events.events if e["event"] == "withdrawn" and e["type"] == "__main__.Leak"]
            return {e["schema"] for e in gone} == {"gcscope.log/1", "gcscope.events/1"}
        wait_until(withdrawn, timeout=30, what="withdrawn on both topics")
        names = {s["type"] for s in t.ask("suspects")["suspects"]}
        assert "__main__.Leak" not in names


def test_nothing_is_said_early(python, target):
    """Fewer than 8 censuses: no suspects, and start-up is not a leak."""
    t = target(python, PATTERNS, GCSCOPE_INTERVAL="0.3")
    t.exec("kept.extend(Leak() for _ in range(1000))")
    wait_until(lambda: t.censuses() >= 4)
    answer = t.ask("suspects")
    assert answer["samples"] < 8 and answer["suspects"] == []


def test_a_quiet_program_has_no_suspects(few_pythons, target):
    t = target(few_pythons, "import json, gc, logging, collections\n", GCSCOPE_INTERVAL="0.05")
    for _ in range(60):
        n = t.censuses()
        t.exec("[json.loads(json.dumps({'a': [1, {'b': 2}]})) for _ in range(200)]")
        if few_pythons.free_threaded and n % 5 == 0:
            t.exec("gc.collect()")  # nothing else frees code there, and each exec() makes some
        wait_until(lambda: t.censuses() > n)
    said = [s for s in t.ask("suspects")["suspects"] if s["confidence"] != "watch"]
    assert said == []


def test_growth_by_bytes(few_pythons, target):
    """One list that grows for ever: the count of lists stands still, their bytes do not."""
    t = target(few_pythons, '''
store = []
def more(i): store.extend([None] * 3000)
''', GCSCOPE_INTERVAL="0.05")
    for i in range(90):
        n = t.censuses()
        t.exec("more(%d)" % i)
        wait_until(lambda: t.censuses() > n)
    rows = {s["type"]: s for s in t.ask("suspects")["suspects"]}
    assert "list" in rows and rows["list"]["evidence"]["by"] == "bytes", rows
    assert rows["list"]["confidence"] in ("watch", "likely")


@pytest.mark.limit(60)
def test_cli_suspects_and_log(few_pythons, target, cli):
    t = target(few_pythons, PATTERNS, GCSCOPE_INTERVAL="0.05")
    start(t)
    base = t.censuses()
    assert cli("suspects", "--fail-on", "confirmed", t.pid).status == 0
    wait_until(lambda: t.censuses() >= base + 60, timeout=30)
    done = cli("suspects", t.pid)
    assert done.status == 0 and b"__main__.Leak" in done.stdout and b"confirmed" in done.stdout
    assert cli("suspects", "--fail-on", "confirmed", t.pid).status == 3
    # Each time of what is seen by then: a machine that stood still meanwhile makes it less sure for a moment.
    wait_until(lambda: t.cli("suspects", "--json", "-n", "1")["suspects"][0]["confidence"] == "confirmed")

    done = cli("log", "-d", 2 * SLOW, t.pid, timeout=20)
    assert done.status == 0, done
    lines = done.stdout.decode().splitlines()
    mine = [x for x in lines if "__main__.Leak " in x]
    assert len(mine) >= 10, done
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z %d suspect (confirmed|likely) __main__.Leak " % t.pid, mine[0])
    assert not [x for x in lines if "Tooth" in x or "Cached" in x]

    done = cli("log", "--json", "-d", SLOW, t.pid, timeout=20)
    rows = [json.loads(x) for x in done.stdout.splitlines()]
    assert done.status == 0 and rows
    assert {r["schema"] for r in rows} == {"gcscope.log/1"}
    assert "__main__.Leak" in {r.get("type") for r in rows}
    assert cli("log", "-d", SLOW, "--fail-on", "likely", t.pid, timeout=20).status == 3


LOG_TEXT = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z %d (suspect|withdrawn|uncollectable|gc_disabled|gc_enabled|frozen|pause|disabled)"


@pytest.mark.limit(90)
@pytest.mark.parametrize("form", ["text", "json"])
def test_log_file(few_pythons, target, tmp_path, form):
    """The agent's own log needs no CLI; when the file is moved away it begins a new one."""
    path = str(tmp_path / "leaks.log")
    t = target(few_pythons, PATTERNS, GCSCOPE_INTERVAL="0.05", GCSCOPE_LOG=path, GCSCOPE_LOG_FORMAT=form)
    t.exec("gc.enable(); gc.disable()")
    start(t)

    def lines(name=path):
        if not os.path.exists(name):
            return []
        with open(name, encoding="utf-8") as f:
            return f.read().splitlines()
    wait_until(lambda: [x for x in lines() if "__main__.Leak" in x and "confirmed" in x], timeout=30, what="a confirmed leak")
    os.rename(path, path + ".1")
    wait_until(lambda: [x for x in lines() if "__main__.Leak" in x], what="a new file")
    os.rename(path, path + ".2")
    wait_until(lambda: [x for x in lines() if "__main__.Leak" in x], what="another new file")
    for name in (path, path + ".1", path + ".2"):
        for line in lines(name):
            if form == "json":
                row = json.loads(line)
                assert row["schema"] == "gcscope.log/1" and row["pid"] == t.pid and row["event"]
            else:
                assert re.match(LOG_TEXT % t.pid, line), line
    assert t.errors() == ""


def test_log_of_changes(python, target):
    """A line when gc is disabled or frozen, when a pause is long, and when something is uncollectable."""
    t = target(python, "import gc\n", GCSCOPE_INTERVAL="0.1")
    with t.connect() as c:
        c.ask("subscribe", topics="log")
        n = t.censuses()
        wait_until(lambda: t.censuses() > n + 1)
        t.exec("gc.disable()")
        assert c.event("gc_disabled")["schema"] == "gcscope.log/1"
        t.exec("gc.enable()")
        assert c.event("gc_enabled")
        t.exec("gc.freeze()")
        assert c.event("frozen")["count"] > 1000
        t.exec("gc.unfreeze()")
        assert c.event("frozen")["count"] < 1000
        t.exec("gc.disable(); import time; heap = []; took = 0")
        t.exec("""
while took < .2:
    heap.extend([[]] for _ in range(500000))
    began = time.perf_counter(); gc.collect(); took = time.perf_counter() - began
""", timeout=40)
        pause = c.event("pause")
        assert pause["generation"] == 2 and pause["pause_ns"] > 100e6 and pause["at"]


def test_log_to_stderr(one_python, run):
    done = run(one_python, PATTERNS + "threading.Thread(target=drive, daemon=True).start()\ntime.sleep(2.5)\nprint('out')\n",
               GCSCOPE_INTERVAL="0.05", GCSCOPE_LOG="stderr")
    assert done.status == 0 and done.stdout == b"out\n"
    assert b"__main__.Leak" in done.stderr


@pytest.mark.parametrize("place", ["/", "/proc/self/mem/x", "/dev/full", "fifo"])
def test_log_that_cannot_be_written(one_python, target, tmp_path, place):
    """A log that is a directory, full, or a FIFO that nobody reads: the target does not notice."""
    if place == "fifo":
        place = str(tmp_path / "fifo")
        os.mkfifo(place)
    t = target(one_python, PATTERNS, GCSCOPE_INTERVAL="0.05", GCSCOPE_LOG=place)
    start(t)
    n = t.censuses()
    wait_until(lambda: t.censuses() > n + 20)
    assert t.ask("info")["pid"] == t.pid
    assert t.eval("1") == 1
    t.exec("stopped.set()")
    assert t.finish() == 0 and t.errors() == ""
