"""The image server: what it serves, and what it says to anything else."""

import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from consumer.demo import draw_garment, truth_of
from consumer.demo.images import MAX_SEED, ImageServer, main


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as running:
        yield running


@pytest.fixture
def connection(server: ImageServer) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    yield opened
    opened.close()


def test_serves_the_drawing_of_the_seed(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/garment/5.jpg")
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
    assert response.read() == draw_garment(5).jpeg


def test_keeps_the_connection_open(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    kept = connection.sock
    connection.request("GET", "/garment/5.jpg")
    assert connection.getresponse().read()[:2] == b"\xff\xd8"
    assert connection.sock is kept


def test_head_has_the_length_and_no_body(connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", "/garment/5.jpg")
    response = connection.getresponse()
    assert int(response.headers["Content-Length"]) == len(draw_garment(5).jpeg)
    assert response.read() == b""


@pytest.mark.parametrize("path", ["/none.jpg", "/garment/x.jpg", "/garment/-1.jpg", f"/garment/{MAX_SEED}.jpg"])
def test_answers_404_for_what_is_no_garment(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    assert connection.getresponse().status == 404


def test_the_last_seed_is_served(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", f"/garment/{MAX_SEED - 1}.jpg")
    assert connection.getresponse().status == 200


def test_the_index_page_shows_garments_with_what_they_are(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    page = connection.getresponse().read().decode()
    assert "/garment/0.jpg" in page
    assert "<br>".join(truth_of(0).values()) in page


def test_pictures_are_addresses_with_their_truth(server: ImageServer) -> None:
    first, second = server.pictures(2, first_seed=40)
    assert first == (f"{server.url}/garment/40.jpg", truth_of(40))
    assert second == (f"{server.url}/garment/41.jpg", truth_of(41))


def test_close_frees_the_port() -> None:
    server = ImageServer()
    port = int(server.url.rsplit(":", 1)[1])
    server.close()
    ImageServer(port=port).close()


def test_a_port_in_use_is_told_in_one_line(server: ImageServer, capsys: pytest.CaptureFixture[str]) -> None:
    port = server.url.rsplit(":", 1)[1]
    assert main(["--port", port]) == 2
    assert capsys.readouterr().err.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # else no child process can be ended


def test_the_command_serves_until_it_is_asked_to_stop() -> None:
    command = [sys.executable, "-W", "error", "-m", "consumer.demo.images", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1]
        opened = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        opened.request("GET", "/healthz")
        assert opened.getresponse().status == 200
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""
        opened.close()
