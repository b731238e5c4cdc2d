"""Which processor this is, read where Linux tells it."""

from __future__ import annotations

from pathlib import Path

from consumer.model.processor import Processor

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx512_bf16 avx2\n\nprocessor\t: 1\nmodel name\t: other\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd40\n"


def test_name_and_instructions_are_the_first_cores(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    found = Processor.here(tmp_path / "cpuinfo", tmp_path / "gpus")
    assert found.name.endswith(" AMD EPYC")
    assert (found.flags, found.gpus) == (("avx2", "avx512_bf16", "fpu"), ())


def test_bfloat16_is_told_on_every_architecture(tmp_path: Path) -> None:
    for text, computes in ((X86, True), (ARM, True), (X86.replace("avx512_bf16", "avx512f"), False), ("", False)):
        (tmp_path / "cpuinfo").write_text(text)
        assert Processor.here(tmp_path / "cpuinfo").computes_bfloat16 is computes


def test_int8_saturates_on_x86_without_vnni(tmp_path: Path) -> None:
    for text, saturates in ((X86, True), (X86.replace("avx2", "avx2 avx512_vnni"), False), (ARM, False), ("", False)):
        (tmp_path / "cpuinfo").write_text(text)
        assert Processor.here(tmp_path / "cpuinfo").saturates_int8 is saturates


def test_gpus_are_told_by_their_addresses(tmp_path: Path) -> None:
    (tmp_path / "0000:02:00.0").mkdir()
    (tmp_path / "0000:01:00.0").mkdir()
    assert Processor.here(tmp_path / "nowhere", tmp_path).gpus == ("0000:01:00.0", "0000:02:00.0")
