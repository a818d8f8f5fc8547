# SPDX-License-Identifier: Apache-2.0
"""
Guards against two logs that differ: the agent's own (GCSCOPE_LOG) and what `gcscope log` prints must be the
same lines, whatever the types are called. And against settings that are ignored in silence, or complained
of again and again.
"""
import json
import os
import re
import signal
import subprocess

import pytest

from conftest import environment, wait_until

GROWING = r'''
import gc, os, threading, time

class Leak: pass
Odd = type("a b\n\x1b[31m\u009b\u202e\\\u6f22", (), {})
Broken = type("half \U0001f40d" * 30, (), {})
kept, numbers = [], []
stopped = threading.Event()

def drive():
    while not stopped.is_set():
        kept.extend([Leak(), Odd(), Odd(), Broken()])
        numbers.extend([0] * 3000)
        if len(kept) % 100 == 0: gc.collect()
        time.sleep(.02)

thread = threading.Thread(target=drive, daemon=True)
'''

LONG_PAUSE = '''
gc.disable(); took = 0; heap = []
while took < .2:
    heap.extend([[]] for _ in range(500000))
    began = time.perf_counter(); gc.collect(); took = time.perf_counter() - began
heap.clear(); gc.enable()
'''


def lines_of(path):
    """Whole lines: the last may be on its way."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="\n") as f:
        return f.read().split("\n")[:-1]


@pytest.mark.limit(120)
def test_both_logs_are_the_same(few_pythons, target, gcscope, sockdir, tmp_path):
    own, printed = str(tmp_path / "own.log"), str(tmp_path / "printed.log")
    t = target(few_pythons, GROWING, GCSCOPE_INTERVAL="0.05", GCSCOPE_LOG=own)
    n = t.censuses()
    wait_until(lambda: t.censuses() > n)
    with subprocess.Popen([gcscope, "log", "-o", printed, str(t.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          env=environment(sockdir)) as p:
        try:
            def subscribed():
                t.exec("gc.disable(); time.sleep(.1); gc.enable()")
                return lines_of(printed)
            wait_until(subscribed, what="gcscope log follows", interval=0.2)
            t.exec("gc.freeze()")
            t.exec("kept, numbers = [], []; thread.start()")

            def said(event):
                return [x for x in lines_of(printed) if x.split(" ")[2] == event]
            wait_until(lambda: any(" bytes=" in x and x.split(" ")[4] == "list" for x in said("suspect")), 40,
                       "a suspect by bytes")
            wait_until(lambda: any("Leak " in x and " confirmed " in x for x in said("suspect")), 40, "a confirmed leak")
            t.exec(LONG_PAUSE, timeout=40)
            t.exec("stopped.set(); thread.join(); kept.clear(); numbers.clear()")
            wait_until(lambda: said("withdrawn"), 40, "a leak withdrawn")
            wait_until(lambda: said("pause"), what="a pause")
        finally:
            p.send_signal(signal.SIGINT)
            error = p.communicate(timeout=20)[1]
    assert (p.returncode, error) == (0, b"")
    theirs = lines_of(printed)
    mine = lines_of(own)
    assert theirs[0] in mine, "the first line that was printed is not in the file"
    start = mine.index(theirs[0])
    for own_line, line in zip(mine[start:], theirs):
        assert own_line == line
    assert len(mine) >= start + len(theirs)

    for line in theirs:
        assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ %d [a-z_]+( |$)" % t.pid, line), line
    suspects = [x for x in theirs if " suspect " in x]
    for line in suspects:
        assert re.search(r" suspect (likely|confirmed) \S+ count=\d+ (0|[+-]\S+)/s bytes=[\d.]+[KMG]?i?B (0|[+-][\d.]+[KM]?i?B)/s"
                         r" \(\d+ censuses, \d+ full collections\)( new)?$", line), line
    assert any(" __main__.a\\x20b\\n\\x1b[31m\\u009b\\u202e\\\\\u6f22 " in x for x in suspects)
    assert {x.split(" ")[2] for x in theirs} >= {"suspect", "withdrawn", "frozen", "pause", "gc_disabled", "gc_enabled"}


@pytest.mark.parametrize("form", ["text", "json"])
def test_settings_are_named_once(one_python, target, tmp_path, form):
    """A bad setting and what is off are named in the first lines, and not again by forked children."""
    path = str(tmp_path / "own.log")
    t = target(one_python, GROWING, GCSCOPE_BUDGET="plenty", GCSCOPE_INTERVAL="0.05", GCSCOPE_SITES="64K", GCSCOPE_LOG=path,
               GCSCOPE_LOG_FORMAT=form)
    complaint = t.ask("stat")["agent"]["settings_complaint"]
    off = [(d["feature"], d["reason"]) for d in t.ask("stat")["agent"]["disabled"]]
    assert "GCSCOPE_BUDGET" in complaint and [feature for feature, _ in off].count("sites") == 1
    t.exec("""
for _ in range(3):
    child = os.fork()
    if not child:
        gc.disable()
        time.sleep(.4)
        os._exit(0)
    os.waitpid(child, 0)
""")
    lines = wait_until(lambda: lines_of(path))
    if form == "json":
        rows = [json.loads(x) for x in lines]
        assert all(r["schema"] == "gcscope.log/1" and r["time"] for r in rows)
        first = {k: v for k, v in rows[0].items() if k not in ("schema", "time")}
        assert first == {"pid": t.pid, "event": "settings", "message": complaint}
        assert [(r["pid"], r["feature"], r["reason"]) for r in rows if r["event"] == "disabled"] == [
            (t.pid,) + each for each in off]
        assert [r["event"] for r in rows].count("settings") == 1
    else:
        rest = [x.split(" ", 1)[1] for x in lines]
        assert rest[0] == "%d settings %s" % (t.pid, complaint)
        assert [x for x in rest if " disabled " in x] == ["%d disabled %s %s" % ((t.pid,) + each) for each in off]
        assert len([x for x in rest if " settings " in x]) == 1


def test_a_relative_name_stays_where_the_program_began(one_python, target, tmp_path):
    """Also when the file is opened anew, by the agent of a forked child say."""
    t = target(one_python, GROWING, GCSCOPE_INTERVAL="0.05", GCSCOPE_LOG="own.log")
    own, away = str(tmp_path / "own.log"), tmp_path / "away"
    away.mkdir()
    t.exec("os.chdir(%r); thread.start()" % str(away))
    wait_until(lambda: lines_of(own))
    os.rename(own, own + ".1")
    wait_until(lambda: lines_of(own))
    assert os.listdir(str(away)) == []


def test_subscribers_get_no_introduction(one_python, target):
    """What a client can ask for (stat) is not sent to it unasked."""
    t = target(one_python, GROWING, GCSCOPE_INTERVAL="0.05", GCSCOPE_BUDGET="plenty", GCSCOPE_SITES="64K")
    with t.connect() as c:
        c.ask("subscribe", topics="log")
        n = t.censuses()
        wait_until(lambda: t.censuses() > n)
        t.exec("gc.disable()")
        assert c.event()["event"] == "gc_disabled"
