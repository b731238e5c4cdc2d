"""What Python's garbage collection may not do to a service: stand still for what never becomes garbage.

Importing TensorFlow and tracing a model leave 340 000 objects that live as long as the process. A full collection
walks over all of them with the interpreter's lock held: 0.2 s on an idle core, 1 s were seen on two busy ones, and
every event that is in flight waits for it.
"""

from __future__ import annotations

import gc


def leave_alone_what_is_here() -> None:
    """Collects what the start has left behind, and has no later collection look at what is there now."""
    gc.collect()
    gc.freeze()


def look_at_everything() -> None:
    """Undoes it: the service is gone, and what it was made of may be garbage."""
    gc.unfreeze()
