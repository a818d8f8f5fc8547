# SPDX-License-Identifier: Apache-2.0
"""
Guards against uncollectable objects that `gcscope garbage` does not tell from what an application itself put into
gc.garbage, and against a log that is silent about them. A C extension makes true ones: types with a tp_del.
"""
import pytest

KINDS = ("Legacy", "HeapLegacy")

MAKE = '''
import gc
import gcs_testext
gc.disable()

class Saved:
    pass

def uncollectable(kind, n):
    """n objects with a tp_del, each in a cycle with a list, which holds another cycle."""
    for _ in range(n):
        thing, held = getattr(gcs_testext, kind)(kind), Saved()
        thing.ref, held.me = [thing, held], held
    thing = held = None
    return gc.collect()

def saved(n):
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    for _ in range(n):
        one = Saved()
        one.me = one
    one = None
    gc.collect()
    gc.set_debug(0)
'''


@pytest.fixture
def start(target, testext):
    def make(python, **settings):
        if python.free_threaded:
            pytest.skip("off in free-threaded builds, where other threads may empty gc.garbage while it is read")
        return target(python, MAKE, PYTHONPATH=testext(python), GCSCOPE_CYCLES="all", **settings)
    return make


def test_uncollectable_first(python, start):
    """After 40 objects of DEBUG_SAVEALL and 10 of the application, the uncollectable ones still come first."""
    t = start(python)
    t.exec("saved(40); gc.garbage.extend([set() for _ in range(10)])")
    t.exec("uncollectable('Legacy', 3)")
    t.exec("uncollectable('HeapLegacy', 2)")
    answer = t.cli("garbage", "--json")
    assert answer["schema"] == "gcscope.garbage/1"
    assert answer["length"] == answer["looked_at"] == t.eval("len(gc.garbage)")
    assert answer["uncollectable"] == 5
    assert [o["uncollectable"] for o in answer["objects"]] == [True] * 5 + [False] * (answer["length"] - 5)
    assert [o["type"] for o in answer["objects"][:5]] == ["gcs_testext.Legacy"] * 3 + ["gcs_testext.HeapLegacy"] * 2
    addresses = t.eval("[hex(id(o)) for o in gc.garbage if 'Legacy' in type(o).__name__]")
    assert [o["address"] for o in answer["objects"][:5]] == addresses
    counts = [(x["type"], x["count"]) for x in answer["types"]]
    assert counts[:2] == [("gcs_testext.Legacy", 3), ("gcs_testext.HeapLegacy", 2)]
    assert ("__main__.Saved", 40) in counts and ("set", 10) in counts


def test_text(python, start):
    t = start(python)
    t.exec("saved(2)")
    t.exec("uncollectable('HeapLegacy', 1)")
    lines = t.cli("garbage").stdout.decode().splitlines()
    assert lines[0].startswith("%d in gc.garbage, 1 of them uncollectable" % t.eval("len(gc.garbage)"))
    rows = [line.split() for line in lines if line.startswith("0x")]
    assert [r[1:] for r in rows][0] == ["uncollectable", "gcs_testext.HeapLegacy"]
    assert {r[1] for r in rows[1:]} == {"put"} and len(rows) == t.eval("len(gc.garbage)")


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_is_never_a_cycle_that_was_freed(python, start, kind):
    """What is uncollectable, and what it holds, is not counted among the cycles that the collector freed."""
    t = start(python)
    t.exec("uncollectable('%s', 4)" % kind)
    t.exec("a = Saved(); a.me = a; del a; gc.collect()")
    answer = t.ask("cycles")
    assert "Legacy" not in str(answer["cycles"])
    assert answer["legacy"] == sum(t.eval("[g['uncollectable'] for g in gc.get_stats()]"))
    assert [c["count"] for c in answer["cycles"] if "__main__.Saved" in c["types"]] == [1]


def test_reported_at_once(few_pythons, start, tmp_path):
    """Events and the agent's log tell of each collection that found some, long before the next census."""
    log = tmp_path / "log"
    t = start(few_pythons, GCSCOPE_INTERVAL="1000", GCSCOPE_LOG=str(log))
    with t.connect() as c:
        c.ask("subscribe", topics="log")
        for kind in KINDS:
            t.exec("uncollectable('%s', 3)" % kind)
            event = c.event("uncollectable", timeout=10)
            assert (event["schema"], event["generation"]) == ("gcscope.log/1", 2)
            assert (event["type"], event["count"]) == ("gcs_testext." + kind, 3)
            assert event["total"] == t.eval("gc.get_stats()[2]['uncollectable']") >= 3
    assert [line.split()[3] for line in log.read_text().splitlines() if " uncollectable " in line] == [
        "gcs_testext." + kind for kind in KINDS]


def test_reported_to_who_comes_late(few_pythons, start):
    """Nobody has listened to the first twenty collections that found some: the next one's are told with their type."""
    t = start(few_pythons, GCSCOPE_INTERVAL="1000")
    for _ in range(20):
        t.exec("uncollectable('Legacy', 1)")
    with t.connect() as c:
        c.ask("subscribe", topics="log")
        t.exec("uncollectable('Legacy', 3)")
        event = c.event("uncollectable", timeout=10)
    assert (event["type"], event["count"]) == ("gcs_testext.Legacy", 3)
