# SPDX-License-Identifier: Apache-2.0
"""
Guards against a capture of cycles that can be noticed: another order of finalizers, weakref callbacks or tp_clear;
another sight from within them; objects that stay, return, or are cleared twice; other numbers, flags or messages.

Each program of tests/run/capture runs without the agent and with it, every collection captured, and must print
the same bytes. What it makes is caught in truth: the agent is asked.
"""
import os
import re

import pytest

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "capture")
PROGRAMS = ("builtin_types", "callbacks", "debugging", "extension", "finalizers", "forks", "hiding", "holding", "large", "stdlib",
            "threads", "tracing")
DEVELOPMENT = ("extension", "stdlib")  # with -X dev: ResourceWarnings, and memory that is checked
SETTINGS = {"GCSCOPE_CYCLES": "all", "GCSCOPE_INTERVAL": "0.05", "PYTHONHASHSEED": "0", "PYTHONFAULTHANDLER": "1"}


def masked(text):
    """Without addresses, and without the time and the number of old objects that DEBUG_STATS tells."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"(objects in each generation: \d+ \d+) \d+", r"\1", text)
    return re.sub(r"\d\.\d+s elapsed", "s elapsed", text).splitlines()


class End:
    """What a program printed, and how it ended; what the agent captured of it."""

    def __init__(self, target, python, name, path, with_agent):
        with open(os.path.join(HERE, name + ".py"), encoding="utf-8") as f:
            source = f.read()
        t = target(python, source, with_agent=with_agent, serve=False, attach=with_agent, script=name + ".py",
                   flags=["-X", "dev"] if name in DEVELOPMENT else [],
                   PYTHONPATH=os.pathsep.join(path), **SETTINGS)
        t.proc.stdin.write(b"begin\n")
        t.proc.stdin.flush()
        lines = []
        while not lines or lines[-1] != "END":
            lines.append(t.readline(60))
        self.cycles = t.ask("cycles") if with_agent else None
        self.disabled = {d["feature"] for d in t.ask("stat")["agent"]["disabled"]} if with_agent else None
        self.status = t.finish()
        lines.extend(iter(t.lines.get, None))
        self.stdout, self.stderr = masked("\n".join(lines)), masked(t.errors())


@pytest.mark.limit(150)
@pytest.mark.parametrize("name", PROGRAMS)
def test_unnoticed(python, target, testext, name):
    if python.free_threaded:
        pytest.skip("no cycles are captured there, and no two runs finalize in the same order")
    path = [HERE] + ([testext(python)] if name == "extension" else [])
    plain = End(target, python, name, path, with_agent=False)
    caught = End(target, python, name, path, with_agent=True)
    assert caught.stdout == plain.stdout
    assert caught.stderr == plain.stderr
    assert caught.status == plain.status
    assert len(plain.stdout) > 10
    if name == "hiding":
        assert "cycles" in caught.disabled
        return
    assert caught.cycles["captured"] > 3 and caught.cycles["objects"] > 10 and caught.cycles["cycles"]
    assert (caught.cycles["refused"] > 0) == (name == "debugging")  # DEBUG_STATS prints the lengths of lists
    assert caught.cycles["skipped"] == 0
