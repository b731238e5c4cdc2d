"""Loading a model in a process of its own, as the service does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
import consumer.model
assert "tensorflow" not in sys.modules, "importing the room is light"
from consumer.settings import Settings
model = consumer.model.load_model(Settings(model_path=Path(sys.argv[1])))
for name in ("sklearn", "matplotlib", "scipy"):
    assert name not in sys.modules, "Keras and TensorFlow look for it, and nobody needs it"
import sklearn, scipy  # can be had afterwards: NNCF wants them
print(sys.modules.get("openvino_telemetry", "not even tried"), list(model.config.tasks))
"""


def test_a_start_writes_nothing_of_its_own_and_lets_openvino_call_nobody(directory: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environ = os.environ | {
        "HOME": str(home),
        "KERAS_BACKEND": "jax",
    }  # another program's choice, which is not installed
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environ,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "None ['sleeves', 'print']\n"
    assert not (home / "intel").exists()  # where its reporter keeps the identity that it reports under
