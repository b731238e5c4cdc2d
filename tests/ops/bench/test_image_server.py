"""The image server and its pictures."""

from __future__ import annotations

import io
import time
from pathlib import Path

import requests
from PIL import Image

from ops.bench import image_server
from ops.bench.pictures import SIZES, TASKS, jpeg, truth
from ops.bench.processes import started
from ops.bench.systems import await_line
from ops.local_kafka.ports import free_ports


def test_a_picture_is_the_same_every_time_and_costs_what_a_photograph_costs() -> None:
    files = [jpeg(number, SIZES["385x500"]) for number in range(6)]
    assert files == [jpeg(number, SIZES["385x500"]) for number in range(6)]
    assert len(set(files)) == 6
    assert 40_000 < sum(map(len, files)) / 6 < 60_000


def test_every_label_has_pictures() -> None:
    found = [{truth(number)[place] for number in range(200)} for place in range(len(TASKS))]
    assert found == [set(range(len(labels))) for labels in TASKS.values()]


def test_images_come_at_once_or_later_on_kept_connections(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        started("images", ["-m", "ops.bench.image_server", str(port)], tmp_path) as process,
        requests.Session() as session,
    ):
        await_line(process, tmp_path / "images.log")
        body = session.get(image_server.url(port, 3), timeout=10).content
        assert body == jpeg(3, SIZES["385x500"])
        assert Image.open(io.BytesIO(body)).size == (385, 500)
        began = time.monotonic()
        assert session.get(image_server.url(port, 3, after_s=0.3), timeout=10).content == body
        assert time.monotonic() - began >= 0.3
        large = session.get(image_server.url(port, 3, "1000x1000"), timeout=10).content
        assert Image.open(io.BytesIO(large)).size == (1000, 1000)
        assert session.get(f"http://127.0.0.1:{port}/none.jpg", timeout=10).status_code == 404


def test_new_images_are_the_same_picture_in_bytes_of_their_own() -> None:
    files = image_server.Files()
    answers = [files.new("385x500", number) for number in (3, 3 + image_server.PICTURES)]
    heads, bodies = zip(*(answer.split(b"\r\n\r\n", 1) for answer in answers), strict=True)
    assert len(set(bodies)) == 2
    for head, body in zip(heads, bodies, strict=True):
        assert f"Content-Length: {len(body)}".encode() in head
        assert Image.open(io.BytesIO(body)).tobytes() == Image.open(io.BytesIO(jpeg(3, SIZES["385x500"]))).tobytes()


def test_events_name_many_hosts() -> None:
    hosts = {image_server.url(80, number).split("/")[2] for number in range(1000)}
    assert len(hosts) == image_server.HOSTS
