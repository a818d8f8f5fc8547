# SPDX-License-Identifier: Apache-2.0
"""
Callbacks and threads that get hold of what the agent puts into a collection: they keep some of it, or all that is not
built-in, copy it and ask it questions, or put the collector's lists in another order.
"""
import copy
import gc
import sys
import threading
import time

from common import Node, begin, collect, end, say, state

kept = []


def strangers():
    return [o for o in gc.get_objects() if type(o).__module__ == "gcscope"]


def keep_the_first(phase, info):
    if phase == "start":
        kept[:] = strangers()[:1]


def keep_the_last(phase, info):
    if phase == "start":
        kept[:] = strangers()[-1:]


def keep_instances(phase, info):
    if phase == "start":
        kept[:] = [o for o in gc.get_objects() if type(o).__module__ not in ("builtins", "__main__", "common")]


def reorder(phase, info):
    if phase == "start":
        gc.freeze()
        gc.unfreeze()


def question(phase, info):
    if phase != "start":
        return
    for o in strangers():
        for ask in (copy.copy, copy.deepcopy, repr, dir, hash, sys.getsizeof, gc.get_referents, gc.get_referrers,
                    gc.is_tracked, type(o), lambda o: type(type(o).__name__, (type(o),), {}), lambda o: o == copy):
            try:
                ask(o)
            except TypeError:
                pass


def let_others_look(phase, info):
    if phase == "start":
        time.sleep(.002)


def look(stop):
    while not stop.is_set():
        kept[:] = [o for o in gc.get_objects() if not isinstance(o, (list, dict, tuple))]
        time.sleep(.001)
    kept.clear()


def garbage():
    for generation in (0, 1, 2, 2, 0, 2):
        Node("n%d" % generation)
        collect(generation)


def main():
    begin()
    for callback in (keep_the_first, keep_the_last, keep_instances, reorder, question):
        say("--", callback.__name__)
        gc.callbacks.append(callback)
        garbage()
        gc.callbacks.remove(callback)
        kept.clear()
        collect()
        say(len(gc.garbage), state())
    say("-- a thread")
    stop = threading.Event()
    thread = threading.Thread(target=look, args=(stop,))
    gc.callbacks.append(let_others_look)
    thread.start()
    for _ in range(30):
        ring = []  # which the thread may hold for a moment, too
        ring.append(ring)
        del ring
        gc.collect()
    stop.set()
    thread.join()
    gc.callbacks.remove(let_others_look)
    gc.collect()  # what the thread held last
    say("-- nobody")
    garbage()
    say(len(gc.garbage), sum(s["uncollectable"] for s in gc.get_stats()))
    end()


main()
