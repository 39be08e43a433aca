# SPDX-License-Identifier: Apache-2.0
"""2 GiB through a gateway whose memory stays as it was. Only with GABBRO_LONG=1."""
import hashlib
import threading

import pytest
from conftest import BYTES

SIZE = 2 << 30
PIECE = b"\0" * (1 << 20)


@pytest.mark.parametrize("chunk", [SIZE, 64 << 20], ids=["one-request", "64-MiB"])
def test_2_GiB_add_at_most_16_MiB(fresh, chunk):
    small = fresh.image("small")
    assert fresh.patch(fresh.create(small, 4 << 20), 0, PIECE * 4).status == 204  # what a first upload of any size costs
    path = fresh.image("large")
    before, most, ended = fresh.resident(), [0], threading.Event()

    def look():
        while not ended.wait(0.05):
            most[0] = max(most[0], fresh.resident())

    watcher = threading.Thread(target=look)
    watcher.start()
    place = fresh.create(path, SIZE)
    for at in range(0, SIZE, chunk):
        pieces = (PIECE for _ in range(chunk // len(PIECE)))
        answer = fresh.tus("PATCH", place, pieces, Upload_Offset=at, Content_Type=BYTES, Content_Length=chunk)
        assert answer.status == 204, answer
    ended.set()
    watcher.join()
    digest = hashlib.sha256()
    for _ in range(SIZE // len(PIECE)):
        digest.update(PIECE)
    assert fresh.status(path)["ingest"]["digest"] == digest.hexdigest()
    assert most[0] - before <= 16 << 20, f"{(most[0] - before) >> 20} MiB more"
