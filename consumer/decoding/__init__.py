"""Bytes → pixels in processes of their own: a decoder may crash, hang or eat memory, and one image fails.

From the outside in: `decoder` lends processes to the threads that ask, `turns` says whose image is next, by what its
machine is known for in `standings` (`shares` has the threads that wait), `process` is one of them as the service sees
it, `worker` is what runs inside, `limits` what it may take, `confinement` what it may not do at all, `messages` what
the two say.

Nothing is imported here: a process for decoding starts with what it needs and no more.

Why at all: an image that crashes a decoder in the service's own process comes back after the restart,
since its event is not committed, and crashes it again, for ever. `docs/safety.md` has the measurements.
"""
