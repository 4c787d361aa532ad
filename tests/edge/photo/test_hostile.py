"""A folder of damaged, odd and hostile files: each gives a result or one sentence, never a traceback.

40 files by default; SEG_EDGE_HOSTILE=200 makes 200.
"""

import base64
import json
import os
import random
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
COUNT = int(os.environ.get("SEG_EDGE_HOSTILE", "40"))


def seeds() -> dict[str, bytes]:
    found = {suffix: cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp", ".tif")}
    grey16 = PICTURE[..., 0].astype(np.uint16) * 257
    found[".tiff"] = cv2.imencode(".tif", grey16)[1].tobytes()
    heic, avif = BytesIO(), BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PICTURE)).save(heic)
    Image.fromarray(PICTURE).save(avif, "AVIF", speed=10)
    return {**found, ".heic": heic.getvalue(), ".avif": avif.getvalue()}


def damaged(data: bytes, chance: random.Random) -> bytes:
    content = bytearray(data)
    match chance.randrange(6):
        case 0:
            return bytes(content[: chance.randrange(len(content))])
        case 1:
            for _ in range(chance.randrange(1, 20)):
                content[chance.randrange(len(content))] = chance.randrange(256)
        case 2:  # where the headers are
            for _ in range(chance.randrange(1, 8)):
                content[chance.randrange(min(64, len(content)))] = chance.randrange(256)
        case 3:  # a size or a count of something
            at = chance.randrange(max(1, min(200, len(content)) - 4))
            content[at : at + 4] = struct.pack(">I", chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65535]))
        case 4:
            at = chance.randrange(len(content))
            content[at:at] = chance.randbytes(chance.randrange(1, 300))
        case _:
            at = chance.randrange(len(content))
            content[at : at + chance.randrange(1, 300)] = b""
    return bytes(content)


@pytest.mark.parametrize("seed", [1])
def test_every_file_gives_a_result_or_one_sentence(seed: int, tmp_path: Path) -> None:
    chance, folder, files = random.Random(seed), tmp_path / "in", sorted(seeds().items())
    folder.mkdir()
    for number in range(COUNT):
        suffix, data = chance.choice(files)
        name = chance.choice(["a", "b\n", "ö", "d\x1b[31m", "e\udce9"])
        # Some have the suffix of another format.
        named = chance.choice([suffix, suffix, ".jpg"])
        (folder / f"{name}{number}{named}").write_bytes(damaged(data, chance))
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.png").symlink_to("nowhere.png")
    command = [
        sys.executable,
        "-m",
        "seg_edge.commands.cli",
        "image",
        str(folder),
        "--model",
        "person",
        "--out",
        f"{tmp_path}/out",
        "--json",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=540)
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert len(results) == COUNT + 2
    names = {base64.b64decode(r["photo_base64"]) if "photo_base64" in r else r["photo"].encode() for r in results}
    assert names == {os.fsencode(path) for path in folder.iterdir()}
    for result in results:
        assert "error" in result or Path(result["outputs"]["overlay"]).parent == tmp_path / "out"
    failures = [line for line in done.stderr.decode("utf-8").splitlines() if line.startswith("error: ")]
    others = [line for line in done.stderr.decode("utf-8").splitlines() if not line.startswith("error: ")]
    assert len(failures) == sum("error" in result for result in results)
    assert "Traceback" not in done.stderr.decode()
    assert b"\x1b" not in done.stderr
    assert len(others) == 1
    assert others[0].startswith(f"{COUNT + 2} photos: ")
