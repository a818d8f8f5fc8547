# SPDX-License-Identifier: Apache-2.0
"""
An application that uses gc.set_debug(): what DEBUG_SAVEALL, DEBUG_COLLECTABLE, DEBUG_UNCOLLECTABLE, DEBUG_STATS
and DEBUG_LEAK print and save, set beforehand, by a finalizer and by callbacks of the collection itself.
"""
import gc
import sys
import weakref

from common import Leaf, begin, collect, end, found, leaf, say, state, watch


class Node:
    def __init__(self, name, flags=None):
        self.name, self.me, self.flags, self.leaf = name, self, flags, leaf("leaf of " + name)

    def __del__(self):
        say("del", self.name, gc.get_debug())
        if self.flags is not None:
            gc.set_debug(self.flags)


def saved():
    """What is in gc.garbage now, which is then emptied."""
    say([type(o).__name__ for o in gc.garbage], [n.name for n in gc.garbage if isinstance(n, Node)], state())
    gc.set_debug(0)
    while gc.garbage:
        o = gc.garbage.pop()
        if isinstance(o, Node):
            o.me = None
    o = None
    collect()


def beforehand():
    for flags in (gc.DEBUG_SAVEALL, gc.DEBUG_COLLECTABLE, gc.DEBUG_UNCOLLECTABLE, gc.DEBUG_LEAK, gc.DEBUG_STATS):
        for generation in (0, 2):
            gc.set_debug(flags)
            Node("flags %d" % flags)
            ref = watch(Node("alive"), "alive")
            say(gc.collect(generation), gc.get_debug())
            ref.me = None
            del ref
            saved()


def by_a_finalizer():
    for flags in (gc.DEBUG_SAVEALL, gc.DEBUG_COLLECTABLE, gc.DEBUG_LEAK, 0):
        Node("sets %d" % flags, flags)
        Node("another")
        say(gc.collect(), gc.get_debug())
        saved()


def by_a_callback():
    for wanted in ("start", "stop"):
        for flags in (gc.DEBUG_SAVEALL, gc.DEBUG_COLLECTABLE):
            def callback(phase, info):
                if phase == wanted:
                    gc.set_debug(flags)
                say(phase, gc.get_debug(), found(info))
            gc.callbacks.append(callback)
            for name in ("first", "second"):
                Node(name)
                say(gc.collect(), gc.get_debug())
            gc.callbacks.remove(callback)
            saved()


def by_a_weak_reference():
    node = Node("referred to")
    ref = weakref.ref(node, lambda _: gc.set_debug(gc.DEBUG_SAVEALL))
    del node
    say(gc.collect(), gc.get_debug(), ref())
    saved()


def toggled_around():
    """What pytest plugins and leak finders do."""
    for _ in range(3):
        gc.set_debug(gc.DEBUG_SAVEALL)
        Node("found")
        gc.collect()
        names = [n.name for n in gc.garbage if isinstance(n, Node)]
        gc.garbage.clear()
        gc.set_debug(0)
        say(names, gc.collect(), gc.garbage)


def garbage_of_the_application():
    """A finalizer adds to gc.garbage and empties it."""
    class Adds(Node):
        def __del__(self):
            say("before", gc.garbage)
            gc.garbage.append(self.name)

    class Empties(Node):
        def __del__(self):
            say("before", gc.garbage)
            gc.garbage.clear()
    gc.garbage.append("from before")
    Adds("one")
    say(gc.collect(), gc.garbage)
    Empties("two")
    say(gc.collect(), gc.garbage)
    for kinds in ((Adds, Empties), (Empties, Adds), (Adds, Empties, Adds)):
        for kind in kinds:
            kind(kind.__name__)
        say(gc.collect(), gc.garbage)
        gc.garbage.clear()


def main():
    begin()
    for part in (beforehand, by_a_finalizer, by_a_callback, by_a_weak_reference, toggled_around,
                 garbage_of_the_application):
        say("--", part.__name__)
        sys.stderr.write("-- %s\n" % part.__name__)
        part()
        say(state())
    end()


main()
