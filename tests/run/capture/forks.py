# SPDX-License-Identifier: Apache-2.0
"""
Forks in the middle of a collection: in a finalizer, a weakref callback, a callback of the collector, a tp_clear.
The child goes on with that collection, begins others, and ends like the parent or at once.
"""
import collections
import gc
import os
import sys
import weakref

from common import Leaf, begin, collect, end, leaf, say


def fork(what):
    """In the child False; in the parent True, once the child has ended."""
    pid = os.fork()
    if pid:
        say("parent", what, os.waitpid(pid, 0)[1])
    else:
        say("child", what, gc.get_debug(), gc.garbage)
    return bool(pid)


class Node:
    """forks(name): what it does in __del__. False when that forked, and this is the child."""
    child = False

    def __init__(self, name, action=None):
        self.name, self.me, self.action, self.leaf = name, self, action, leaf("leaf of " + name)

    def __del__(self):
        say("del", self.name, os.getpid() == parent)
        if self.action:
            Node.child = not self.action(self.name)


def leave_if_child():
    """A child collects once more, and has done its part."""
    if os.getpid() == parent:
        return
    Node("of the child")
    collect()
    say(gc.get_debug(), gc.garbage, gc.get_count()[1:])
    os._exit(3)


def in_a_finalizer():
    Node("before"), Node("forks", fork), Node("after")
    collect()
    leave_if_child()


def in_a_finalizer_and_out():
    """The child ends in the very middle."""
    Node("ends", lambda name: fork(name) or os._exit(4))
    collect()


def in_a_weak_reference():
    node = Node("referred to")
    ref = weakref.ref(node, lambda _: fork("in a weakref callback"))
    del node
    collect()
    leave_if_child()
    say(ref())


def in_a_callback():
    for wanted in ("start", "stop"):
        def callback(phase, info):
            if phase == wanted:
                gc.callbacks.remove(callback)
                fork("in a callback, " + phase)
        gc.callbacks.append(callback)
        Node("collected meanwhile")
        collect()
        leave_if_child()


def in_a_clear():
    """The leaf dies when its holder is cleared."""
    holder = Leaf()
    holder.me = [holder]
    holder.leaf = Leaf()
    ref = weakref.ref(holder.leaf, lambda _: fork("while the trash is cleared"))
    holder.after = [leaf("other leaf"), collections.deque([holder])]
    del holder
    collect()
    leave_if_child()
    say(ref())


def in_threads_absence():
    """A child that runs to its end, through the interpreter's."""
    if not fork("to the end"):
        Node("left to the end of the child")
        sys.exit(5)


parent = os.getpid()


def main():
    begin()
    for part in (in_a_finalizer, in_a_finalizer_and_out, in_a_weak_reference, in_a_callback, in_a_clear,
                 in_threads_absence):
        say("--", part.__name__)
        part()
    say(gc.get_debug(), gc.garbage, gc.get_count()[1:])
    end()


main()
