# SPDX-License-Identifier: Apache-2.0
"""
The application's own gc.callbacks: their arguments, what they may ask and do in both phases (freeze, unfreeze,
change thresholds, raise, remove themselves, look at all objects), and collections begun by hand and by allocation.
"""
import gc
import sys
import weakref

from common import Leaf, begin, collect, end, found, leaf, say, state, statistics, watch


class Node:
    def __init__(self, name):
        self.name, self.me, self.leaf = name, self, leaf("leaf of " + name)

    def __del__(self):
        say("del", self.name, gc.get_debug(), len(gc.garbage))


def observe(phase, info):
    """In the start phase all but the lengths of lists: two objects more stand there then."""
    say(phase, sorted(info), info["generation"], found(info), gc.get_count(), gc.get_debug(), gc.garbage,
        statistics(), gc.get_freeze_count() > 0, gc.isenabled(),
        gc.get_threshold(), gc.collect(), state() if phase == "stop" else None)


def look(phase, info):
    """All of the trash is among all objects before, and none of it after. All of them may be looked at."""
    everything = gc.get_objects()
    nodes = [o for o in everything if type(o) is Node]
    say(phase, sorted(n.name for n in nodes), [len(gc.get_referrers(n)) for n in nodes], sys._getframe(1).f_lineno)
    for o in everything:
        type(o).__name__, type(o).__mro__, hash(type(o)), id(o), sys.getrefcount(o), gc.is_tracked(o), callable(o)
        dir(type(o)), sys.getsizeof(o, 0), object.__repr__(o), o is None
        if type(o).__module__ == "gcscope":
            repr(o), str(o), o == o, o != everything, hash(o), dir(o), gc.get_referents(o), gc.get_referrers(o)
            try:
                o.attribute = weakref.ref(o)
            except (TypeError, AttributeError):
                pass


def freeze(phase, info):
    (gc.freeze if phase == "stop" else gc.unfreeze)()


def fail(phase, info):
    raise ValueError("callback", phase)


def once(phase, info):
    gc.callbacks.remove(once)


def adds(phase, info):
    if phase == "start":
        gc.callbacks.append(observe)
    else:
        gc.callbacks.remove(observe)


def thresholds(phase, info):
    gc.set_threshold(700 if phase == "stop" else 5, 10, 10)


def garbage(phase, info):
    if phase == "start":
        gc.garbage.append("put there")
    else:
        say(gc.garbage, gc.garbage.pop())


def make_cycles(phase, info):
    Node("made in " + phase)


def with_callback(callback):
    say("--", callback.__name__)
    gc.callbacks.append(callback)
    for generation in (0, 1, 2, 2):
        Node("n%d" % generation)
        collect(generation)
    if callback in gc.callbacks:
        gc.callbacks.remove(callback)
    collect()
    say(state())


def ages():
    """Where survivors and trash that a weak reference brought back end up."""
    for generation in (0, 1, 2):
        survivor, back = [Leaf()], []
        ring = Leaf()
        ring.me = ring
        other = Leaf()
        other.me = other
        ref = weakref.ref(ring, lambda r, other=other: back.append(other))
        del ring, other
        gc.collect(generation)
        lists = [gc.get_objects(generation=g) for g in range(3)]
        where = [[any(o is x for x in objects) for objects in lists] for o in (survivor, back[0], ref)]
        say(generation, where, state())
        back[0].me = None


def automatic():
    """Collections that allocation begins, of each generation, at the same places as ever."""
    log = []

    def note(phase, info):
        frame = sys._getframe(1)
        log.append((phase, info["generation"], found(info), frame.f_lineno, gc.get_count()))
    gc.callbacks.append(note)
    gc.freeze()
    gc.collect()
    gc.set_threshold(40, 3, 2)
    gc.enable()
    keep = []
    for i in range(3000):
        a, b = Leaf(), []
        a.b, a.i = b, i
        b.append(a)
        if i % 7 == 0:
            keep.append(a)
        if i % 50 == 0:
            watch(a, "automatic %d" % i)
    gc.disable()
    gc.callbacks.remove(note)
    say(len(log), {g: sum(e[:2] == ("stop", g) for e in log) for g in range(3)}, state())
    for entry in log:
        say(*entry)
    gc.set_threshold(700, 10, 10)
    gc.unfreeze()
    keep.clear()
    collect()


def before_ours():
    """A callback that stands first: it comes first, and sees everything as ever."""
    gc.callbacks.insert(0, observe)
    Node("with a callback first")
    collect()
    gc.callbacks.remove(observe)
    Node("and without")
    collect()


def main():
    begin()
    for callback in (observe, look, freeze, fail, once, adds, thresholds, garbage, make_cycles):
        with_callback(callback)
    ages()
    automatic()
    before_ours()
    say(state())
    end()


main()
