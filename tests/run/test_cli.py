# SPDX-License-Identifier: Apache-2.0
"""
Guards against a command line that disagrees with the agent, picks the wrong target, leaves the documented
exit statuses, or is not what it started (`run` must become the command).
"""
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import environment, is_gone, kill, wait_until

COMMANDS = ["run", "ps", "stat", "census", "events", "suspects", "log", "watch", "cycles", "garbage", "collect"]


def test_version_and_help(cli, agent):
    assert cli("-V").status == 0 and cli("--version").stdout.startswith(b"gcscope ")
    done = cli("--help")
    assert done.status == 0 and cli("-h").stdout == done.stdout
    for command in COMMANDS:
        assert command.encode() in done.stdout
        own = cli(command, "--help")
        assert own.status == 0 and b"Usage" in own.stdout or b"usage" in own.stdout, own
        assert own.stderr == b""
    assert b"impact" in cli("collect", "--help").stdout.lower()
    assert os.path.samefile(cli("--agent-path").stdout.decode().strip(), agent)


@pytest.mark.parametrize("args", [[], ["bogus"], ["--bogus"], ["stat", "--bogus"], ["census", "-n"], ["census", "-n", "x"],
                                  ["census", "-n", "-1"], ["log", "-d", "soon"], ["stat", "-t", "0x"], ["stat", "a", "b"],
                                  ["run"], ["run", "--"], ["run", "-i", "never", "--", "true"], ["run", "--memory", "1", "--", "true"],
                                  ["run", "--budget", "0", "--", "true"], ["run", "--cycles", "maybe", "--", "true"],
                                  ["run", "--log-format", "xml", "--", "true"], ["events", "--topics", "x"],
                                  ["suspects", "--fail-on", "x"], ["ps", "extra", "words"]],
                         ids=lambda a: " ".join(a) or "nothing")
def test_wrong_usage(cli, args):
    done = cli(*args)
    assert done.status == 2, done
    assert done.stdout == b"" and done.stderr


def test_no_target(cli, sockdir):
    """Exit 1 and one line that says what, and what to do."""
    for args in (["stat"], ["census", "--json"], ["stat", "1"], ["stat", str(os.getpid())], ["watch", "999999999"],
                 ["log", "no-such-program"], ["collect", "x y"]):
        done = cli(*args)
        assert done.status == 1, (args, done)
        assert done.stdout == b"" and done.stderr.count(b"\n") == 1, (args, done)
    done = cli("ps", "--json")
    assert done.status == 0 and json.loads(done.stdout)["agents"] == []
    assert cli("ps").status == 0
    os.rmdir(sockdir)
    try:
        assert cli("ps").status == 0
        assert cli("stat").status == 1
    finally:
        os.mkdir(sockdir, 0o700)


def test_choosing_a_target(few_pythons, target, cli):
    a = target(few_pythons, script="alpha.py")
    assert json.loads(cli("stat", "--json").stdout)["pid"] == a.pid
    b = target(few_pythons, script="beta.py", args=["--name=evil \x1b[31m"])
    done = cli("stat")
    assert done.status == 1 and done.stderr.count(b"\n") >= 1, "two of them: which one?"
    assert json.loads(cli("stat", "--json", "alpha").stdout)["pid"] == a.pid
    assert json.loads(cli("stat", "--json", "beta.py").stdout)["pid"] == b.pid
    assert json.loads(cli("stat", "--json", b.pid).stdout)["pid"] == b.pid
    assert cli("stat", ".py").status == 1
    done = cli("ps")
    assert done.status == 0 and b"\x1b" not in done.stdout
    assert b"alpha.py" in done.stdout and b"beta.py" in done.stdout
    rows = {r["pid"]: r for r in json.loads(cli("ps", "--json").stdout)["agents"]}
    assert set(rows) == {a.pid, b.pid}
    assert "evil \x1b[31m" in rows[b.pid]["command"]
    for row in rows.values():
        assert {"pid", "ppid", "python", "uptime_s", "rss_bytes", "objects", "suspects", "command"} <= set(row)


def test_answers(python, target, cli):
    """Each command in text and JSON; JSON has the contract's keys and matches the agent's answer."""
    t = target(python, "import gc\ngc.disable()\nclass Mine: pass\nheap = [Mine() for _ in range(4321)]\n")
    stat = t.cli("stat", "--json")
    assert stat["schema"] == "gcscope.stat/1" and stat["pid"] == t.pid
    assert [g["collections"] for g in stat["gc"]["generations"]] == [g["collections"] for g in t.eval("gc.get_stats()")]
    for path in ("python.version", "python.free_threaded", "python.debug", "gc.enabled", "gc.thresholds", "gc.counts",
                 "gc.frozen", "gc.garbage", "gc.generations", "process.rss_bytes", "agent.uptime_s", "agent.cpu_ns",
                 "agent.gil_held_ns", "agent.max_gil_hold_ns", "agent.memory_bytes", "agent.dropped_events", "agent.disabled"):
        at = stat
        for key in path.split("."):
            at = at[key]
    census = t.cli("census", "--json", "-n", "3")
    assert len(census["types"]) == 3 and census["objects"] > 4321
    everything = t.cli("census", "--json")
    assert {x["type"]: x["count"] for x in everything["types"]}["__main__.Mine"] == 4321
    collect = t.cli("collect", "--json")
    assert (collect["schema"], collect["generation"]) == ("gcscope.collect/1", 2) and collect["pause_ns"] > 0
    assert t.cli("collect", "1", "--json")["generation"] == 1  # GEN before TARGET
    assert t.cli("suspects", "--json")["suspects"] == []

    assert b"4321" in cli("census", t.pid).stdout.replace(b",", b"").replace(b"4.3k", b"4321")
    assert b"__main__.Mine" in cli("census", t.pid).stdout
    for command in ("stat", "census", "suspects", "collect"):
        done = cli(command, t.pid)
        assert done.status == 0 and done.stdout and done.stderr == b"", done
        assert b"\x1b" not in done.stdout
    assert b"censuses" in cli("suspects", t.pid).stdout or b"8" in cli("suspects", t.pid).stdout


def test_collect_generation(one_python, target, cli):
    t = target(one_python, "import gc\ngc.disable()\n")
    before = t.eval("gc.get_stats()")
    for generation in (0, 1, 2):
        done = cli("collect", generation, "--json")
        assert done.status == 0, done
        assert json.loads(done.stdout)["generation"] == generation
    after = t.eval("gc.get_stats()")
    assert [a["collections"] - b["collections"] for a, b in zip(after, before)] == [1, 1, 1]
    assert cli("collect", t.pid, "3").status == 2
    assert json.loads(cli("collect", "--json", t.pid, "1").stdout)["generation"] == 1


def test_events(few_pythons, target, gcscope):
    t = target(few_pythons, "import gc\ngc.disable()\n", GCSCOPE_INTERVAL="0.2")
    for flags in ([], ["--json"]):
        proc = subprocess.Popen([gcscope, "events", "--topics", "gc,census"] + flags + [str(t.pid)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=environment(t.sockdir))
        try:
            wait_until(lambda: t.ask("stat")["agent"]["clients"] == 2, what="the CLI to connect")
            time.sleep(.1)
            t.exec("for g in (0, 1, 2): gc.collect(g)")
            lines = []
            while sum(1 for x in lines if b"census" not in x[:60]) < 3 or len(lines) == 3:
                lines.append(proc.stdout.readline())
                assert lines[-1]
            proc.send_signal(signal.SIGINT)
            out, err = proc.communicate(timeout=10)
            assert proc.returncode == 0 and err == b"", (proc.returncode, err)
            if flags:
                rows = [json.loads(x) for x in lines]
                assert [r["generation"] for r in rows if r["event"] == "gc"] == [0, 1, 2]
                assert {r["schema"] for r in rows} == {"gcscope.events/1"}
                assert any(r["event"] == "census" for r in rows)
        finally:
            proc.kill()
            proc.wait()


def test_target_dies_during_a_stream(one_python, target, gcscope):
    t = target(one_python)
    proc = subprocess.Popen([gcscope, "events", str(t.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=environment(t.sockdir))
    try:
        wait_until(lambda: t.ask("stat")["agent"]["clients"] == 2)
        kill(t.pid)
        out, err = proc.communicate(timeout=10)
        assert proc.returncode == 1 and err.count(b"\n") == 1 and str(t.pid).encode() in err, err
    finally:
        proc.kill()
        proc.wait()


def test_output_file_and_closed_output(one_python, target, cli, gcscope, tmp_path):
    t = target(one_python)
    path = tmp_path / "out.json"
    done = cli("census", "--json", "-o", path, t.pid)
    assert (done.status, done.stdout) == (0, b"")
    assert json.loads(path.read_text())["pid"] == t.pid
    done = cli("census", "-o", "/dev/full", t.pid)
    assert done.status == 1 and done.stderr.count(b"\n") == 1, done
    done = cli("census", "-o", tmp_path / "no" / "such", t.pid)
    assert done.status == 1 and done.stderr.count(b"\n") == 1, done
    with open("/dev/full", "w") as full:
        done = subprocess.run([gcscope, "stat", str(t.pid)], stdout=full, stderr=subprocess.PIPE, timeout=20,
                              env=environment(t.sockdir))
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    pipe = subprocess.Popen([gcscope, "census", "-n", "0", "--json", str(t.pid)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(t.sockdir))
    pipe.stdout.close()
    assert pipe.wait(10) in (0, 1, -signal.SIGPIPE)
    assert pipe.stderr.read().count(b"\n") <= 1
    pipe.stderr.close()


# ---- run ----

def test_run_is_the_command(python, cli, gcscope, sockdir, tmp_path):
    """Same PID, exit status, signal, standard streams; the agent is in it from the start."""
    done = cli("run", "--", python.path, "-c", "import sys; print(sys.stdin.read()); sys.exit(5)", stdin=b"text")
    assert (done.status, done.stdout, done.stderr) == (5, b"text\n", b"")
    done = cli("run", "--", python.path, "-c", "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)")
    assert done.status == -signal.SIGTERM
    source = "import gcscope, os; print(os.getpid(), os.environ['GCSCOPE_INTERVAL'], flush=True); input()"
    proc = subprocess.Popen([gcscope, "run", "-i", "0.5", "--", python.path, "-c", source], env=environment(sockdir),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        pid, interval = proc.stdout.readline().split()
        assert int(pid) == proc.pid and float(interval) == 0.5
        assert json.loads(cli("stat", "--json", proc.pid).stdout)["agent"]["interval_s"] == 0.5
        proc.communicate(b"\n", 10)
        assert proc.returncode == 0
    finally:
        kill(proc.pid)
        proc.wait()


def test_asked_at_once(python, cli, gcscope, sockdir):
    """Of a program that was only just started, its agent's beginning is waited for; of one without an agent, not for long."""
    for _ in range(5):
        proc = subprocess.Popen([gcscope, "run", "--", python.path, "-c", "input()"], stdin=subprocess.PIPE,
                                env=environment(sockdir))
        try:
            done = cli("stat", "--json", proc.pid)
            assert done.status == 0 and json.loads(done.stdout)["pid"] == proc.pid, done
            proc.communicate(b"\n", 10)
        finally:
            kill(proc.pid)
            proc.wait()


def test_no_agent(one_python, cli, target):
    """What has loaded the agent and does not run it is told from what was started without."""
    t = target(one_python, GCSCOPE_DISABLE="1", attach=False)
    done = cli("stat", t.pid)
    assert done.status == 1 and done.stderr.count(b"\n") == 1 and b"has loaded libgcscope.so" in done.stderr, done
    t = target(one_python, with_agent=False, attach=False)
    done = cli("stat", t.pid)
    assert done.status == 1 and done.stderr == b"gcscope: no agent in process %d: start it with gcscope run -- CMD\n" % t.pid


def test_run_settings(one_python, cli, tmp_path):
    """Each setting is a flag, and reaches the agent as its variable."""
    show = "import os; print(*['%s=%s' % kv for kv in sorted(os.environ.items()) if kv[0].startswith('GCSCOPE_')], sep='\\n')"
    place = tmp_path / "s"
    done = cli("run", "--socket-dir", place, "--interval", "2.5", "--log", tmp_path / "l", "--log-format", "json", "--cycles", "off",
               "--budget", "3", "--sites", "512K", "--memory", "32M", "--wait", "--", one_python.path, "-c", show)
    assert done.status == 0, done
    got = dict(x.split("=", 1) for x in done.stdout.decode().splitlines())
    want = {"SOCKET_DIR": str(place), "INTERVAL": "2.5", "LOG": str(tmp_path / "l"), "LOG_FORMAT": "json", "CYCLES": "off",
            "BUDGET": "3", "SITES": "512K", "MEMORY": "32M", "WAIT": "1"}
    assert got == {"GCSCOPE_" + k: v for k, v in want.items()}


def test_run_keeps_a_preload(one_python, gcscope, agent, sockdir):
    env = environment(sockdir)
    env["LD_PRELOAD"] = "libc.so.6"
    done = subprocess.run([gcscope, "run", "--", one_python.path, "-c", "import os; print(os.environ['LD_PRELOAD'])"], env=env,
                          stdout=subprocess.PIPE, timeout=20)
    parts = done.stdout.decode().strip().replace(":", " ").split()
    assert os.path.realpath(parts[0]) == os.path.realpath(agent) and parts[1:] == ["libc.so.6"]


def test_run_what_is_not_there(cli, tmp_path):
    done = cli("run", "--", "no-such-command-at-all")
    assert done.status == 127 and done.stderr.count(b"\n") == 1
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert cli("run", "--", plain).status == 126
    assert cli("run", "--", "/bin/sh", "-c", "exit 9").status == 9


def test_names_from_the_target_are_escaped(one_python, target, cli):
    t = target(one_python, "keep = [type('a\\x1b]0;pwned\\x07\\x9b31m\\u202ez', (), {})() for _ in range(1)]\n"
                           "T = type(keep[0])\nkeep.extend(T() for _ in range(9000))\n")
    for args in (["census"], ["census", "-n", "3"]):
        text = cli(*args, t.pid).stdout.decode("utf-8")
        assert "pwned" in text
        assert not [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"]


def test_environment_of_a_dead_default(cli, tmp_path):
    """Without GCSCOPE_SOCKET_DIR the runtime directory is used; what lies there that is no socket is left alone."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    done = cli("ps", "--json", GCSCOPE_SOCKET_DIR="", XDG_RUNTIME_DIR=run_dir)
    assert done.status == 0, done
    assert not is_gone(os.getpid())
