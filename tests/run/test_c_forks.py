# SPDX-License-Identifier: Apache-2.0
"""
Guards forks of C code, which may come from any thread, with the GIL or without, in the middle of anything: such a
caller keeps what is its own, ends where it would have ended, and leaves no agent that is held off for ever.
"""
import os
import subprocess

import pytest

from conftest import FIRST, INTERPRETERS, connect, environment, run_program, wait_until

SETTINGS = {"GCSCOPE_INTERVAL": "0.01", "GCSCOPE_BUDGET": "100"}

PROGRAM = INTERPRETERS + '''
import ctypes, gc, os, threading, time
forks = ctypes.CDLL(%r)
heap = [[] for _ in range(200000)]
stopped = threading.Event()

def busy():
    while not stopped.is_set():
        x = [{n: [n]} for n in range(300)]

def among(functions, call, *args):
    """What call() returns while each of the functions runs on a thread."""
    threads = [threading.Thread(target=f) for f in functions]
    for t in threads: t.start()
    time.sleep(.1)
    result = call(*args)
    stopped.set()
    for t in threads: t.join()
    return result

def with_another_interpreter(n):
    """Made by this thread, run by another: before 3.12 its thread state is that of this one."""
    which = interpreters.create()
    read_end, write_end = os.pipe()
    def run():
        interpreters.run_string(which, """if True:
            import os, select, time
            while not select.select([%%d], [], [], 0)[0]:
                for _ in range(20): x = [[n] for n in range(300)]
                time.sleep(0)
            """ %% read_end)
    def end():
        stopped.wait()
        os.close(write_end)
    result = among([run, busy, busy, end], forks.gcs_forks, n)
    interpreters.destroy(which)
    return result

def within_another_interpreter(n):
    """By its code, with the GIL; the children run Python. How many of them came to their end."""
    read_end, write_end = os.pipe()
    which = interpreters.create()
    failed = interpreters.run_string(which, """if True:
        import ctypes, os, time
        fork = ctypes.PyDLL(None).fork
        for _ in range(%%d):
            pid = fork()
            if not pid:
                end = time.monotonic() + .02
                while time.monotonic() < end:
                    x = [[n] for n in range(30)]
                os.write(%%d, b".")
                os._exit(0)
            deadline = time.monotonic() + 10
            while not os.waitpid(pid, os.WNOHANG)[0]:
                time.sleep(.002)
                if time.monotonic() > deadline:
                    os.kill(pid, 9)
        """ %% (n, write_end))
    os.close(write_end)
    interpreters.destroy(which)
    return failed or len(os.read(read_end, 4096))
'''


def compiled(source, path, *flags):
    subprocess.run(os.environ.get("CC", "cc").split() + ["-std=gnu11", "-g", "-O1", "-pthread"] + list(flags) +
                   [str(source), "-o", str(path)], check=True, timeout=60)
    return str(path)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ext", "gcs_forks.c")
    return compiled(source, tmp_path_factory.mktemp("forks") / "gcs_forks.so", "-shared", "-fPIC")


def assert_censuses_go_on(client):
    count = client.ask("stat")["agent"]["census"]["count"]
    wait_until(lambda: client.ask("stat")["agent"]["census"]["count"] > count + 1)


def assert_well(t):
    assert_censuses_go_on(t.client())
    assert t.finish() == 0
    assert t.errors() == ""


@pytest.mark.limit(120)
def test_the_gil_of_another_thread_stays_its_own(python, target, library):
    t = target(python, PROGRAM % library, **SETTINGS)
    assert t.eval("with_another_interpreter(300)", timeout=60) == 300
    assert_well(t)


@pytest.mark.limit(120)
def test_a_child_of_another_interpreter_goes_on(python, target, library):
    """Our thread, which waits for the GIL in the parent, is not there to take it."""
    plain = target(python, PROGRAM % library, with_agent=False, attach=False)
    n = plain.eval("within_another_interpreter(20)", timeout=60)
    if n != 20:
        pytest.skip("not without the agent either: %r" % n)
    t = target(python, PROGRAM % library, **SETTINGS)
    assert t.eval("within_another_interpreter(100)", timeout=60) == 100
    assert_well(t)


def test_fork_is_no_cancellation_point(few_pythons, target, library):
    t = target(few_pythons, PROGRAM % library, **SETTINGS)
    assert t.eval("among([busy], forks.gcs_forks_when_cancelled, 200)", timeout=60) == 200
    assert_well(t)


def test_a_fork_within_a_fork(few_pythons, target, agent, library):
    """By a handler that runs after the agent's: its child comes out of a fork that it never began."""
    t = target(few_pythons, PROGRAM % library, LD_PRELOAD=" ".join(FIRST + [agent, library]), **SETTINGS)
    t.exec("""if True:
        if forks.gcs_fork_within_fork():
            while os.getppid() == %d:
                gc.collect()
                time.sleep(.01)
            os._exit(0)
        """ % t.pid)
    child = int(t.eval("open('/proc/self/task/%d/children' % os.getpid()).read().split()[0]"))
    with connect(t.sockdir, child) as client:
        assert_censuses_go_on(client)
    assert_well(t)


WITHOUT_PYTHON = """
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static int (*forks)(int);

static void *work(void *good)
{
	*(int *)good = forks(100);
	return NULL;
}

/* Forks on four threads at once; with a second library, only loads that. */
int main(int argc, char **argv)
{
	pthread_t thread[4];
	int good[4], all = 0;

	usleep(50000);
	if (argc > 2)
		return !dlopen(argv[2], RTLD_NOW);
	*(void **)&forks = dlsym(dlopen(argv[1], RTLD_NOW), "gcs_forks");
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, work, &good[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		all += good[i];
	}
	return all != 400;
}
"""

FORKS_WHEN_LOADED = """
#include <sys/wait.h>
#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
	pid_t pid;

	usleep(60000); /* long enough for the agent to look for a CPython, and to wait for the loader's lock */
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}
"""


@pytest.mark.limit(120)
@pytest.mark.parametrize("loads", [False, True])
def test_while_there_is_no_python(agent, sockdir, tmp_path, library, loads):
    """GCSCOPE_WAIT=1: several threads fork while ours looks for a CPython, or one does that has the loader's lock."""
    (tmp_path / "main.c").write_text(WITHOUT_PYTHON)
    (tmp_path / "begin.c").write_text(FORKS_WHEN_LOADED)
    main = compiled(tmp_path / "main.c", tmp_path / "main", "-ldl")
    second = [compiled(tmp_path / "begin.c", tmp_path / "begin.so", "-shared", "-fPIC")] if loads else []
    for _ in range(3):
        done = run_program([main, library] + second, environment(sockdir, agent, GCSCOPE_WAIT="1"), str(tmp_path))
        assert (done.status, done.stdout, done.stderr) == (0, b"", b"")
