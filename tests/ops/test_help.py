"""Every tool that is run as a module tells how, and does nothing else when it is asked for that."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOLD = "\n".join(file.read_text("utf-8") for file in (ROOT / "Makefile", ROOT / "README.md", *ROOT.glob("docs/*.md")))
TOOLS = sorted(set(re.findall(r"python -m ((?:ops|tests|consumer|producer_tools)(?:\.\w+)*)", TOLD)))


def test_the_makefile_and_the_docs_name_tools() -> None:
    assert {"ops.bench", "ops.local_kafka", "ops.steady_load", "tests.faults", "tests.simulation"} <= set(TOOLS)


@pytest.mark.parametrize("tool", [*TOOLS, "ops.readme_tables"])
def test_a_tool_that_is_asked_for_help_gives_it_and_does_nothing_else(tool: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", tool, "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"usage: python -m {tool} ")
    assert not list(tmp_path.iterdir())
