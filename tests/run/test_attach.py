# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that does not attach, attaches late, or attaches crippled: a layout that fails to
verify on some CPython shows as a disabled feature, and only the documented ones may be missing. Also: bad
settings and an unusable socket directory must never stop or disturb the program.
"""
import concurrent.futures
import os
import re
import shutil
import stat
import subprocess
import time

import pytest

from conftest import Client, connect, environment, kill_group, socket_path, start_time, wait_until

# Features that need not be there; everything else must have verified on every CPython.
MAY_BE_OFF = {"cycles", "sites", "python_blocks", "memory.python_blocks"}


def test_hello_within_two_seconds(python, target, sockdir):
    began = time.monotonic()
    t = target(python, attach=False)
    with connect(sockdir, t.pid, timeout=10) as client:
        took = time.monotonic() - began
        hello = client.hello
    assert took < 2, took
    assert hello["schema"] == "gcscope.hello/1"
    assert hello["protocol"] == 1
    assert hello["pid"] == t.pid
    assert hello["python"].startswith(".".join(map(str, python.version)))
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", hello["time"])


def test_layouts_verified(python, target):
    t = target(python)
    answer = t.ask("stat")
    assert answer["schema"] == "gcscope.stat/1"
    off = {d["feature"]: d["reason"] for d in answer["agent"]["disabled"]}
    if not python.free_threaded:
        assert set(off) <= MAY_BE_OFF, off
    assert all(off.values()), "a disabled feature must give its reason"
    assert answer["python"]["free_threaded"] is python.free_threaded
    assert answer["python"]["debug"] is python.debug


COLLECTS_FROM_THE_START = """
import gc, time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
seen = []
def note(phase, info):
    seen.append(phase)
    spin(.02)
gc.disable()
gc.callbacks.append(note)
end = time.monotonic() + 20
while len(gc.callbacks) == 1 and time.monotonic() < end:
    gc.collect(0)
    spin(.002)
gc.collect(0)
print(len(gc.callbacks), seen == ["start", "stop"] * (len(seen) // 2))
"""


def test_attach_while_collecting(python, run, tmp_path):
    """
    Nearly always inside a collection: what is looked for waits for its end, and no callback is called twice.
    Most agents are faster than the program's first lines, so it is started many times at once.
    """
    def start(i):
        return run(python, COLLECTS_FROM_THE_START, script="prog%d.py" % i, GCSCOPE_LOG=tmp_path / ("log%d" % i))

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for done in pool.map(start, range(32)):
            assert (done.stdout, done.stderr) == (b"2 True\n", b"")
    for log in tmp_path.glob("log*"):
        assert " disabled " not in log.read_text() or python.free_threaded


def test_info(python, target):
    t = target(python)
    row = t.ask("info")
    assert row["ppid"] == os.getpid()
    assert row["python"].startswith(".".join(map(str, python.version)))
    assert "app.py" in row["command"]
    assert 0 <= row["uptime_s"] < 60
    assert row["rss_bytes"] > 1 << 20
    wait_until(lambda: t.ask("info")["objects"] > 1000, what="the first census")


def test_socket_modes(one_python, target, sockdir):
    """The socket is 0600 and named after pid and start time; a directory that is missing is made 0700."""
    inner = os.path.join(sockdir, "d")
    try:
        t = target(one_python, attach=False, GCSCOPE_SOCKET_DIR=inner)
        path = os.path.join(inner, "%d-%d.sock" % (t.pid, start_time(t.pid)))
        wait_until(lambda: os.path.exists(path), what=path)
        assert stat.S_IMODE(os.stat(inner).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        with wait_until(lambda: Client(path), what="hello"):
            pass
        assert t.finish() == 0
        wait_until(lambda: not os.path.exists(path), what="the socket to go with the process")
    finally:
        shutil.rmtree(inner, ignore_errors=True)


@pytest.mark.parametrize("kind", ["symlink", "file", "missing_parent", "too_long", "world_writable"])
def test_unusable_socket_directory(one_python, run, tmp_path, kind):
    """No socket can be had: the program runs as ever, and nothing is written where it should not be."""
    place = tmp_path / "place"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if kind == "symlink":
        place.symlink_to(elsewhere)
    elif kind == "file":
        place.write_text("data")
    elif kind == "missing_parent":
        place = place / "a" / "b"
    elif kind == "too_long":
        place = tmp_path / ("x" * 120)
    else:
        place.mkdir()
        place.chmod(0o777)
    done = run(one_python, "import time; time.sleep(0.3); print('fine')", GCSCOPE_SOCKET_DIR=place)
    assert (done.status, done.stdout, done.stderr) == (0, b"fine\n", b"")
    assert os.listdir(elsewhere) == []
    if kind == "file":
        assert place.read_text() == "data"
    if kind == "world_writable":
        assert stat.S_IMODE(place.stat().st_mode) == 0o777 and os.listdir(place) == []


BAD = [("GCSCOPE_INTERVAL", "soon"), ("GCSCOPE_INTERVAL", "-1"), ("GCSCOPE_INTERVAL", "nan"),
       ("GCSCOPE_MEMORY", "lots"), ("GCSCOPE_MEMORY", "1"), ("GCSCOPE_BUDGET", "0"), ("GCSCOPE_BUDGET", "101"),
       ("GCSCOPE_CYCLES", "maybe"), ("GCSCOPE_LOG_FORMAT", "xml"), ("GCSCOPE_SITES", "3 apples")]


@pytest.mark.parametrize("name,value", BAD, ids=["%s=%s" % b for b in BAD])
def test_bad_setting(one_python, target, tmp_path, name, value):
    """A bad value: the default holds, the log names it once, the program knows nothing of it."""
    log = tmp_path / "log"
    t = target(one_python, GCSCOPE_LOG=log, **{name: value})
    agent = t.ask("stat")["agent"]
    if "INTERVAL" in name:
        assert agent["interval_s"] == 10
    if "MEMORY" in name:
        assert agent["memory_limit_bytes"] == 16 << 20
    if "BUDGET" in name:
        assert agent["budget_percent"] == 1
    text = wait_until(lambda: log.exists() and log.read_text(), what="a complaint on the log")
    assert text.count(name) == 1
    t.ask("census")
    assert t.finish() == 0
    assert t.errors() == ""


def test_complaint_on_stderr_only_when_asked(one_python, run):
    done = run(one_python, "import time; time.sleep(0.5)", GCSCOPE_INTERVAL="bogus")
    assert done.stderr == b""
    done = run(one_python, "import time; time.sleep(0.5)", GCSCOPE_INTERVAL="bogus", GCSCOPE_LOG="stderr")
    assert done.stderr.count(b"GCSCOPE_INTERVAL") == 1


def test_disabled(one_python, target, sockdir):
    t = target(one_python, attach=False, GCSCOPE_DISABLE="1")
    assert t.eval("len(__import__('os').listdir('/proc/self/task'))") == 1
    assert t.eval("__import__('gc').callbacks") == []
    assert os.listdir(sockdir) == []
    assert t.eval("'gcscope' in __import__('sys').modules") is False


def test_module_inside(python, target):
    """The target can import gcscope under the agent; what it says of itself is plain."""
    t = target(python)
    assert t.eval("__import__('gcscope').__name__") == "gcscope"
    assert t.eval("bool(__import__('gcscope').__doc__)") is True


EMBED = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int status;

	usleep(300000);
	if (argc > 2 && !strcmp(argv[2], "fork")) {
		if (fork())
			return wait(&status) < 0 ? 3 : WEXITSTATUS(status);
		if (fork())
			return wait(&status) < 0 ? 3 : WEXITSTATUS(status);
	}
	void *lib = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
	if (!lib)
		return fprintf(stderr, "%s\n", dlerror()), 2;
	*(int *)dlsym(lib, "Py_NoSiteFlag") = argc > 2 && !strcmp(argv[2], "blocked");
	((void (*)(void))dlsym(lib, "Py_Initialize"))();
	if (argc > 2 && !strcmp(argv[2], "blocked")) { /* before it has run anything: the agent attaches meanwhile */
		void *state = ((void *(*)(void))dlsym(lib, "PyEval_SaveThread"))();

		sleep(2);
		((void (*)(void *))dlsym(lib, "PyEval_RestoreThread"))(state);
	}
	((int (*)(const char *))dlsym(lib, "PyRun_SimpleString"))(
		"import os, sys, gc\nprint(os.getpid(), flush=True)\nsys.stdin.readline()\n");
	return ((int (*)(void))dlsym(lib, "Py_FinalizeEx"))();
}
"""


def test_cpython_loaded_later(few_pythons, agent, sockdir, tmp_path):
    """GCSCOPE_WAIT=1: a host that loads libpython some time after its start (uWSGI, plug-ins), or its grandchild."""
    if not few_pythons.shared:
        pytest.skip("a static CPython cannot be loaded later")
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    (tmp_path / "embed.c").write_text(EMBED)
    exe = str(tmp_path / "embed")
    subprocess.run(["cc", "-o", exe, str(tmp_path / "embed.c"), "-ldl"], check=True, timeout=60)
    probe = "import sysconfig as s, sys; print(s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME'), sys.prefix)"
    libdir, soname, prefix = subprocess.run([few_pythons.path, "-c", probe], stdout=subprocess.PIPE, check=True,
                                            timeout=60).stdout.decode().split()
    for wait, there, how in (("1", True, []), ("0", False, []), ("1", True, ["fork"]), ("1", True, ["blocked"])):
        proc = subprocess.Popen([exe, os.path.join(libdir, soname)] + how, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, start_new_session=True,
                                env=environment(sockdir, agent, PYTHONHOME=prefix, GCSCOPE_WAIT=wait))
        try:
            pid = int(proc.stdout.readline())
            assert (pid == proc.pid) == (how != ["fork"])
            if there:
                with connect(sockdir, pid) as client:
                    assert client.ask("census")["objects"] > 1000
                    if how == ["blocked"]:
                        assert client.ask("collect")["schema"] == "gcscope.collect/1"
            else:
                assert not os.path.exists(socket_path(sockdir, pid))
            proc.communicate(b"\n", 20)
            assert proc.returncode == 0
        finally:
            kill_group(proc.pid)
            proc.wait()
