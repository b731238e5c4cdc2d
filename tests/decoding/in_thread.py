"""A decoder without processes, for tests that are about something else."""

from __future__ import annotations

from consumer.decoding.decoder import Decoder
from consumer.imaging import DecodedImage, decode_image


class InThread(Decoder):
    """Decodes where it is asked, and remembers how much time it was given."""

    def __init__(self, size: tuple[int, int], max_pixels: int) -> None:
        super().__init__(size, max_pixels, processes=0)
        self.timeouts_s: list[float] = []

    def decode(self, body: bytes, timeout_s: float, machine: object = None, sha256: str | None = None) -> DecodedImage:
        self.timeouts_s.append(timeout_s)
        return decode_image(body, size=self._size, max_pixels=self._max_pixels)
