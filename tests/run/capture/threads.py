# SPDX-License-Identifier: Apache-2.0
"""
Collections in other threads, one of which lets others run from a finalizer in the middle; and many threads at
once, whose totals must come out right.
"""
import gc
import threading
import weakref

from common import Leaf, begin, collect, end, leaf, say, state

lock = threading.Lock()
inside, go_on = threading.Event(), threading.Event()


class Node:
    died = 0

    def __init__(self):
        self.me, self.leaf = self, Leaf()

    def __del__(self):
        with lock:
            Node.died += 1


class Waits(Leaf):
    """Its finalizer waits until another thread has looked, collected and made more."""

    def __del__(self):
        inside.set()
        say("waits", go_on.wait(20))


def in_thread(f):
    thread = threading.Thread(target=f)
    thread.start()
    thread.join()


def in_the_middle():
    waits = Waits()
    waits.me, waits.leaf = waits, leaf("leaf of one that waits")
    del waits
    thread = threading.Thread(target=lambda: say("collected in a thread", gc.collect()))
    thread.start()
    say("inside", inside.wait(20), gc.collect(), gc.get_debug(), gc.garbage)
    Node()
    go_on.set()
    thread.join()
    collect()
    say(Node.died)


def local_data():
    """Cycles through a thread's own data, made and left there."""
    local = threading.local()

    def work():
        local.node = Node()
        local.node.local = local
        Node()
        say("in thread", gc.collect(0), gc.get_count())
    in_thread(work)
    del local
    collect()
    say(Node.died)


def storm():
    """Five threads make and collect; nothing is lost, finalized twice, or left."""
    Node.died = 0
    refs = [[] for _ in range(5)]
    gc.set_threshold(100, 5, 5)
    gc.enable()

    def work(n):
        for i in range(3000):
            refs[n].append(weakref.ref(Node()))
            if i % 100 == n:
                gc.collect(i % 3)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.disable()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    say(Node.died, sum(r() is not None for some in refs for r in some), gc.garbage, gc.get_debug())


def main():
    begin()
    in_thread(collect)
    in_the_middle()
    local_data()
    say(state())
    storm()
    end()


main()
