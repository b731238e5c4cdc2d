"""Which processor this is: what a measured choice holds for, and how it computes in bfloat16 and int8."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
GPUS = Path("/proc/driver/nvidia/gpus")

_NAMES = {"model name": "name", "CPU part": "name", "flags": "flags", "Features": "flags"}
"""Keys of `/proc/cpuinfo`, on x86-64 and on ARM."""
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor, as far as the system tells.

    Attributes:
        name: its model; the architecture where nothing else is known.
        flags: its instruction sets, sorted.
        gpus: the addresses of NVIDIA GPUs that the system has.
    """

    name: str
    flags: tuple[str, ...]
    gpus: tuple[str, ...]

    @classmethod
    def here(cls, cpuinfo: Path = CPUINFO, gpus: Path = GPUS) -> Processor:
        """This machine's."""
        found: dict[str, str] = {}
        try:
            lines = cpuinfo.read_text("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, _, value = line.partition(":")
            if name := _NAMES.get(key.strip()):
                found.setdefault(name, value.strip())
        try:
            cards = sorted(one.name for one in gpus.iterdir())
        except OSError:
            cards = []
        name = f"{platform.machine()} {found.get('name', '')}".strip()
        return cls(name, tuple(sorted(found.get("flags", "").split())), tuple(cards))

    @property
    def computes_bfloat16(self) -> bool:
        """Whether it has instructions for bfloat16; that they are fast is not said."""
        return not _BFLOAT16.isdisjoint(self.flags)

    @property
    def saturates_int8(self) -> bool:
        """Whether int8 loses answers: x86 without VNNI adds two products in 16 bits, where large ones are cut off."""
        return "avx2" in self.flags and _VNNI.isdisjoint(self.flags)
