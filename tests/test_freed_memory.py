"""Large images leave nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMAGE_BYTES = 8 * 2**20
IMAGES = 8

FREES_LARGE_BLOCKS_BETWEEN_SMALL_ONES = f"""
from consumer import freed_memory

def resident():
    with open("/proc/self/status", encoding="utf-8") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

{{first}}
before = resident()
bytearray({IMAGE_BYTES})  # what glibc learns from
images, others = [], []
for _ in range({IMAGES}):
    images.append(b"x" * {IMAGE_BYTES})
    others.append(b"y" * 100_000)
images.clear()
print(resident() - before)
"""


@pytest.mark.parametrize(
    ("first", "least", "most"),
    [
        ("freed_memory.goes_back()", 0, IMAGE_BYTES),
        ("", (IMAGES - 1) * IMAGE_BYTES, (IMAGES + 2) * IMAGE_BYTES),
    ],
    ids=["as the service has it", "as glibc has it"],
)
def test_large_blocks_that_were_freed_go_back_though_others_stay(first: str, least: int, most: int) -> None:
    script = FREES_LARGE_BLOCKS_BETWEEN_SMALL_ONES.format(first=first)
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert least <= int(told) < most
