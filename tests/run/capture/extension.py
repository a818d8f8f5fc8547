# SPDX-License-Identifier: Apache-2.0
"""
C types, static and of a spec, as they are and subclassed in Python: what their tp_clear and tp_finalize see, in
which order, and what stays because it cannot be cleared.
"""
import gc
import weakref

import gcs_testext
from common import begin, collect, end, leaf, say, state, watch

KINDS = ("Correct", "NoClear", "Blind", "NoGC", "Raiser", "Finalizer", "Resurrector")
TYPES = [getattr(gcs_testext, prefix + kind) for kind in KINDS for prefix in ("", "Heap")]
TYPES += [type("Sub" + t.__name__, (t,), {}) for t in TYPES]
stays = []


def tell(name, event):
    say(event, name)


def tell_all(name, event):
    say(event, name, state())


def pair(a, b, to=tell):
    """Two objects in a cycle, each with a leaf."""
    x, y = a(a.__name__ + "/1", to), b(b.__name__ + "/2", to)
    x.ref, y.ref = [y, leaf("of " + x.name)], [x, leaf("of " + y.name)]
    watch(x, x.name)
    return y


def settle():
    """Collects; takes apart by hand what is brought back or cannot be garbage."""
    collect()
    for thing in stays:
        thing.ref = None
    stays.clear()
    while gcs_testext.saved:
        gcs_testext.saved.pop().ref = None
    collect()


def alone():
    for t in TYPES:
        thing = t(t.__name__, tell)
        thing.ref = [thing]
        if any(kind in t.__name__ for kind in ("Blind", "NoGC", "NoClear")):
            stays.append(thing)
        del thing
        settle()


def pairs():
    for a in TYPES:
        for b in TYPES[::5]:
            stays.append(pair(a, b))
            if not any(kind in t.__name__ for t in (a, b) for kind in ("Blind", "NoGC")):
                stays.pop()
    settle()


def kept_for_want_of_clear():
    """A tuple does not clear either: this cycle is found by each collection, and stays."""
    thing = gcs_testext.HeapNoClear("never cleared", tell)
    thing.ref = (thing,)
    ref = weakref.ref(thing)
    del thing
    for generation in (0, 1, 2, 2):
        collect(generation)
        say(ref() is None, state())


def sights():
    """What tp_clear, tp_finalize and tp_dealloc may ask while the collection goes on."""
    for t in TYPES:
        if not any(kind in t.__name__ for kind in ("Blind", "NoGC", "NoClear")):
            pair(t, gcs_testext.Correct, tell_all)
    settle()


def collecting_within():
    def again(name, event):
        say(event, name, gc.collect())
    pair(gcs_testext.Correct, gcs_testext.HeapFinalizer, again)
    collect()


def failing():
    def fail(name, event):
        raise KeyError(name, event)
    pair(gcs_testext.Correct, gcs_testext.HeapFinalizer, fail)
    collect()


def legacy():
    for t in (gcs_testext.Legacy, gcs_testext.HeapLegacy):
        thing = t(t.__name__, tell)
        thing.ref = {"me": thing, "leaf": leaf("held by " + t.__name__)}
        pair(gcs_testext.Correct, gcs_testext.Finalizer).ref.append(thing)
        del thing
        say(gc.collect(), [x.name for x in gc.garbage], state())
        while gc.garbage:
            gc.garbage.pop().ref = None
        collect()


def main():
    begin()
    for part in (alone, pairs, kept_for_want_of_clear, sights, collecting_within, failing, legacy):
        say("--", part.__name__)
        part()
        say(state())
    end()


main()
