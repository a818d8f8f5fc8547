# SPDX-License-Identifier: Apache-2.0
"""
Guards against memory: a capture that keeps garbage one collection longer than CPython does, or tables that grow with
what passes through them. A loop makes a million cycles; its peak is compared with that of the same loop alone.

What the agent costs at all does not depend on the program: its own text, what it touches of libc's and the
interpreter's, tables, a stack. So the bound in percent is for a program of some size, and the one in bytes for a loop
and nothing else.
"""
import json

import pytest

LOOP = '''
import gc, json, sys
size, by_hand = json.loads(sys.argv[1])

class Node:
    pass

heap = [[i] for i in range(size)]
sys.stdin.readline()
if by_hand:
    gc.disable()
for i in range(1000000):
    a, b = Node(), Node()
    a.b, b.a = b, a
    if size:
        a.buffer = bytearray(1000)
    if by_hand and i % 100000 == 99999:
        gc.collect()
gc.collect()
print([int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0], flush=True)
sys.stdin.readline()
'''

AGENT = 2 << 20
SCRATCH = 4 << 20  # a quarter of GCSCOPE_MEMORY, to analyse what one collection found


def peak(target, python, size, by_hand, with_agent):
    """The peak of resident memory, and what the agent captured."""
    t = target(python, LOOP, args=[json.dumps([size, by_hand])], with_agent=with_agent, attach=with_agent, serve=False,
               GCSCOPE_CYCLES="all")
    t.proc.stdin.write(b"\n")
    t.proc.stdin.flush()
    bytes_ = int(t.readline(60))
    captured = t.ask("cycles") if with_agent else None
    assert t.finish() == 0
    return bytes_, captured


def compare(target, python, size, by_hand):
    plain, _ = peak(target, python, size, by_hand, with_agent=False)
    caught, answer = peak(target, python, size, by_hand, with_agent=True)
    print("%s: %d KiB, with the agent %+d" % (python, plain >> 10, (caught - plain) >> 10))
    if python.free_threaded:
        assert "error" in answer
    else:
        assert answer["objects"] >= 2000000 and answer["captured"] >= 10
    return plain, caught


@pytest.mark.limit(200)
@pytest.mark.parametrize("by_hand", [False, True], ids=["automatic", "by_hand"])
def test_a_loop(python, target, by_hand):
    plain, caught = compare(target, python, 0, by_hand)
    assert caught < plain + AGENT + (SCRATCH if by_hand else 0)


@pytest.mark.limit(200)
@pytest.mark.parametrize("by_hand", [False, True], ids=["automatic", "by_hand"])
def test_a_loop_beside_a_heap(few_pythons, target, by_hand):
    """700,000 objects alive, and a buffer in each cycle."""
    plain, caught = compare(target, few_pythons, 700000, by_hand)
    assert caught < plain * 1.03
