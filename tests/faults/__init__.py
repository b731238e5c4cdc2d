"""The fault suite: real processes of the service on a three-broker Apache Kafka, and everything that goes wrong.

::

    scenarios.py   what goes wrong, a scenario a line
    faults.py      the faults themselves: each is done to a run, and undone
    run.py         one scenario: publishes, hurts, waits for every outcome
    watch.py       what readers see meanwhile: outcomes, dead letters, committed offsets
    tally.py       counts: lost, doubled, reordered, visible though aborted, committed too far, silence
    arena.py       the brokers, the proxy before them, the pictures
    process.py     one service process, from the outside
    instance.py    one service process, from the inside: where it dies, and what is broken on purpose
    __main__.py    `make chaos`: the large form and its table
"""
