# SPDX-License-Identifier: Apache-2.0
"""
Callbacks after which no collection finds anything, not even what the agent put there: they freeze, or keep, all
objects in the start phase. The agent gives up; the program sees nothing of it.
"""
import gc

from common import Node, begin, collect, end, say, state

kept = []


def freeze(phase, info):
    (gc.freeze if phase == "start" else gc.unfreeze)()


def keeps(phase, info):
    """Keeps all objects over a collection."""
    if phase == "start":
        kept.append(gc.get_objects())
    else:
        say(len([o for o in kept.pop() if type(o) is Node]))


def main():
    begin()
    for callback in (freeze, keeps):
        say("--", callback.__name__)
        gc.callbacks.append(callback)
        for generation in (0, 1, 2, 2):
            Node("n%d" % generation)
            collect(generation)
        gc.callbacks.remove(callback)
        collect()
        say(state())
    end()


main()
