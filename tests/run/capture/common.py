# SPDX-License-Identifier: Apache-2.0
"""
What the programs of this directory share. Each runs without the agent and with it, every collection captured, and
must print the same. A program calls begin(), makes garbage, prints what it sees, and calls end(): between
these the test knows the agent attached, and at the end asks it what it captured.
"""
import atexit  # noqa: F401  the agent needs it in sys.modules before 3.10
import gc
import sys
import weakref

gc.disable()
kept = []  # the weak references of watch()
_base = None


def begin():
    global _base
    sys.stdin.readline()
    for _ in range(3):
        gc.collect()
    _base = _lengths(), _statistics()


def end():
    say("END")
    sys.stdin.readline()


def say(*args):
    print(*args, flush=True)


def _lengths():
    """Of the two young generations, and of all that is old, frozen or not."""
    young, middle, old = (len(gc.get_objects(generation=g)) for g in range(3))
    return [young, middle, old + gc.get_freeze_count()]


def found(numbers):
    """Of a callback's information or a generation's statistics; later versions add times and more."""
    return [numbers[key] for key in ("collected", "uncollectable")]


def _statistics():
    return [n for generation in gc.get_stats() for n in [generation["collections"]] + found(generation)]


def statistics():
    """Of each generation, since begin(): before, the collections at the start of the interpreter vary."""
    return [now - then for now, then in zip(_statistics(), _base[1])]


def state():
    """
    What can be asked of the collector; lengths of its lists since begin(). Without the count of allocations: the
    dictionary that is made for callbacks, whichever they are, passes through a free list and so changes it by one.
    """
    return (gc.get_debug(), gc.get_count()[1:], len(gc.garbage), sys.getsizeof(gc.garbage), gc.isenabled(),
            gc.get_threshold()[1:], [now - then for now, then in zip(_lengths(), _base[0])], statistics())


def watch(thing, name):
    """Says when thing dies; itself outside of any trash. Returns thing."""
    kept.append(weakref.ref(thing, lambda _: say("dead", name)))
    return thing


class Leaf:
    """May be watched, and hangs on what is in a cycle."""


def leaf(name):
    return watch(Leaf(), name)


class Node:
    """A cycle of one, with a finalizer and a leaf."""

    def __init__(self, name):
        self.name, self.me, self.leaf = name, self, leaf("leaf of " + name)

    def __del__(self):
        say("del", self.name)


def collect(generation=2):
    """Collects, and says what that returned and left behind."""
    say("collect", generation, gc.collect(generation), gc.garbage)


MAKERS = {}


def maker(f):
    """Registers f(x), which makes things that hold x."""
    MAKERS[f.__name__] = f
    return f


def _around(make):
    """make(x) holds x; x holds it."""
    x = Leaf()
    x.leaf = leaf(make.__name__ + "'s leaf")
    x.held = make(x)
    watch(x, make.__name__)


def collect_all_made():
    """A whole program: what each maker makes is collected by itself, then all at once, interleaved."""
    begin()
    for name, make in MAKERS.items():
        say("--", name)
        _around(make)
        collect()
        collect()
        say(state())
    for make in MAKERS.values():
        _around(make)
    collect()
    collect()
    say(state())
    end()
