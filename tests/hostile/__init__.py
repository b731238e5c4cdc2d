"""What strangers send, as data: `urls` and `images` are the cases, one line each, with the outcome of each.

::

    test_corpus     every case through the topic and through /predict/, good pictures in between
    fuzz            seeded mutations; ``python -m tests.hostile.fuzz --inputs 100000``
    folder          every file of a folder; ``python -m tests.hostile.folder DIR``
    __main__        the table of the image cases with time and memory; ``python -m tests.hostile``
"""
