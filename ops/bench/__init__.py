"""The benchmarks: ``python -m ops.bench`` (`make bench`), ``python -m ops.bench full`` (`make bench-full`).

::

    __main__ ─► suite ─► models          the Xception model and its int8 copy, made once
                  │ ├──► parts           fetch, decode, model, Kafka alone: a process each, its CPU as JSON
                  │ ├──► systems         broker, image server, service, baselines: processes, up until ready
                  │ └──► traffic         events due at fixed times in, committed outcomes out, /proc before and after
                  │      callers         the same for the old web API
                  ▼
                report ─► table, plot    figures: percentiles, rates, the limit; JSON in between

Commands of their own, with the same parts: `profile` (where an event's CPU time goes), `repeats`, `scaling`.

The rules: real processes on one machine, so that everything that an event costs is paid here and counted, by whom it
is spent; CPU before elapsed time, which neighbours blur; load in an open loop, an event's clock starting when it was
due; rates from burst to burst, since a transaction's outcomes come at once; every system on topics of its own, every
event with a URL of its own; a run in which an event failed, or an outcome is lost or doubled, says so.
`docs/performance.md` explains the figures.
"""
