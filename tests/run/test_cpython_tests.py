# SPDX-License-Identifier: Apache-2.0
"""
Guards the judge of `./dev matrix`: tests/cpython/run.

A comparison that loses results, takes a crash for "nothing differs", or calls each difference flaky would pass
for ever and say nothing; one that leaves processes behind spoils the runs after it.
"""
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from conftest import is_gone, kill, wait_until

RUN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cpython", "run")


@pytest.fixture(scope="module")
def runner():
    loader = importlib.machinery.SourceFileLoader("cpython_run", RUN)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("cpython_run", loader))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


# ---- one run, bounded ----

@pytest.fixture
def supervise(tmp_path, agent):
    """supervise(script): what tests/cpython/run makes of an "interpreter" that is this shell script."""
    def start(script, limit=20, mode="base"):
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\n" + script)
        python.chmod(0o755)
        job = {"python": str(python), "test": "test_x", "mode": mode, "agent": agent, "select": [], "limit": limit,
               "log": str(tmp_path / "log")}
        done = subprocess.run([sys.executable, RUN, "--supervise", json.dumps(job)], stdout=subprocess.PIPE,
                              timeout=50, check=True)
        return json.loads(done.stdout.decode())
    return start


def test_escaped_process_is_found_and_ended(supervise, tmp_path):
    """In a session of its own, without its parent, its environment or our descriptors."""
    pidfile = tmp_path / "pid"
    result = supervise('setsid env -i /bin/sh -c "echo \\$\\$ >%s; exec sleep 300" >/dev/null 2>&1 &\n'
                       'while ! [ -s %s ]; do :; done\n' % (pidfile, pidfile))
    pid = int(pidfile.read_text())
    try:
        assert result["exit"] == 0
        assert result["left"] == ["sleep 300 "]
        wait_until(lambda: is_gone(pid), what="the end of what escaped")
    finally:
        kill(pid)


def test_limit(supervise):
    result = supervise("sleep 300", limit=1)
    assert result["exit"] == "over 1 s" and result["tests"] is None and result["seconds"] < 10


def test_no_result_is_not_an_empty_one(supervise, runner):
    """A crash: no tests, a signal; and that is a difference to any run that ended."""
    crashed = supervise("kill -SEGV $$")
    assert crashed["exit"] == -11 and crashed["tests"] is None
    assert runner.compare({"exit": 0, "left": [], "tests": {"a.b": "pass"}}, crashed) == ["(exit status)"]


XML = """<testsuites><testsuite><testcase name="m.C.test_ok" status="run"/>
<testcase name="m.C.test_skip"><skipped>why</skipped></testcase>
<testcase name="m.C.test_bad"><failure message="1 is not 2">traceback</failure></testcase><testcase name="m.C.test_error"><error/></testcase>
<testcase name="f at 0x7f12"/><testcase/></testsuite></testsuites>"""


def test_outcomes(supervise):
    """Failed subtests are in the log alone; addresses are no part of a name."""
    result = supervise('for last; do xml=$before; before=$last; done\ncat >"$xml" <<END\n%s\nEND\n'
                       'echo "FAIL: test_sub (m.C) (i=1)"; echo "ERROR: test_new (m.C.test_new) [x]"; exit 2\n' % XML)
    assert result["exit"] == 2
    assert result["tests"] == {"m.C.test_ok": "pass", "m.C.test_skip": "skip", "m.C.test_bad": "fail",
                               "m.C.test_error": "error", "f at 0x": "pass", "m.C.test_sub": "fail",
                               "m.C.test_new": "error"}
    assert result["messages"] == {"m.C.test_bad": "1 is not 2", "m.C.test_error": ""}


def test_clients_ask_the_agent(supervise, one_python):
    """Else the whole table would be of processes that nobody looked at."""
    result = supervise('exec %s -c "import time; time.sleep(1.5)"' % one_python.path, mode="agent")
    assert result["agents"] == 1 and result["answers"] >= 8 and result["malformed"] == [], result
    assert result["sockets"] == []


# ---- the verdict ----

def outcome(text):
    return {"p": "pass", "f": "fail"}[text]


@pytest.mark.parametrize("base, agent, null, verdict", [
    ("ppp", "fff", "ppp", "difference"),
    ("ppp", "pfp", "ppp", "difference"), # never without
    ("pfp", "fff", "ppp", "difference"), # always with
    ("pfp", "ffp", "ppp", "flaky"),
    ("ppp", "ppp", "ppp", "flaky"),
    ("fff", "fff", "fff", "flaky"), # it was the first run without that differed
    ("ppp", "fff", "fff", "preload"),
    ("ppp", "fff", "ffp", "difference"),
])
def test_judge(runner, base, agent, null, verdict):
    runs = {"base": list(map(outcome, base)), "agent": list(map(outcome, agent)), "null": list(map(outcome, null))}
    assert runner.judge("fail", runs)[0] == verdict


def run_of(tests, **keys):
    return dict({"exit": 0, "left": [], "tests": tests, "seconds": 1, "agents": 1, "answers": 5, "captured": 0,
                 "malformed": [], "sockets": [], "disabled": {}, "messages": {}}, **keys)


def test_compare(runner):
    base = run_of({"a.b": "pass", "a.c": "skip"})
    assert runner.compare(base, run_of({"a.b": "pass", "a.c": "skip"})) == []
    assert runner.compare(base, run_of({"a.b": "fail", "a.c": "skip"}, exit=2)) == ["a.b"]
    assert runner.compare(base, run_of({"a.b": "pass"})) == ["a.c"]
    assert runner.compare(base, run_of(base["tests"], exit=3)) == ["(exit status)"]
    assert runner.compare(base, run_of(base["tests"], left=["x"])) == ["(processes left)"]


@pytest.mark.parametrize("agent, verdict, status", [
    ({}, None, 0),
    ({}, "flaky", 0),
    ({}, "difference", 1),
    ({"answers": 0}, None, 1),
    ({"sockets": ["N-N.sock"]}, None, 1),
    ({"malformed": ["{"]}, None, 1),
])
def test_table(runner, tmp_path, agent, verdict, status):
    """Its exit status is 1 for what has no reason, and the page names it."""
    base, agent = run_of({"test.test_gc.C.test_x": "pass"}), run_of({"test.test_gc.C.test_x": "fail"}, **agent)
    counts = {mode: [1, 3] for mode in runner.MODES}
    record = {"identity": "/p, 3.8.18 (main)", "sources": "x", "base": base, "agent": agent,
              "complaints": runner.complaints(agent), "verdicts": [
                  {"item": "test.test_gc.C.test_x", "base": "pass", "agent": "fail", "verdict": verdict,
                   "counts": counts, "message": "1 is not 2"}] if verdict else []}
    (tmp_path / "3.8.18").mkdir()
    (tmp_path / "3.8.18" / "test_gc.json").write_text(json.dumps(record))
    page = tmp_path / "page.md"
    done = subprocess.run([sys.executable, RUN, "--results", str(tmp_path), "--table", str(page)],
                          stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == status, done.stdout
    text = page.read_text(encoding="utf-8")
    assert ("| test_gc | 1/%d\u2020 |" % (verdict != "difference")) in text
    assert ("`test.test_gc.C.test_x`" in text) == bool(verdict)
    assert ("**unexplained**" in text) == (verdict == "difference")


def test_a_reason_is_for_one_failure(runner, monkeypatch):
    """The same test failing otherwise, or elsewhere, is a difference of its own."""
    monkeypatch.setattr(runner, "KNOWN", ((r"test_x$", r"3\.8", "1 is not 2", "because"),))
    item, message = "test.test_gc.C.test_x", "AssertionError: 1 is not 2"
    assert runner.known("3.8.18", item, message) == "because"
    assert runner.known("3.9.1", item, message) is None
    assert runner.known("3.8.18", item, "2 is not 3") is None
    assert runner.known("3.8.18", item + "y", message) is None
