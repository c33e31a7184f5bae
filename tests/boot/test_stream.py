"""Weights that stay on the disk: the same text as from memory, on each bus, in a ring smaller than they are."""

import pytest

from harness import BUILD
from volume import make_volume, put

ONCE = ["-p", "Tom and Lily went to the park.", "-n", "24", "--temp", "0"]
MODEL = BUILD / "model/embedded-q8_0.wllm"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = make_volume(tmp_path_factory.mktemp("stream") / "disk.img")
    put(path, "model.wllm", MODEL.read_bytes())
    return path


@pytest.mark.parametrize("bus", ["virtio", "virtio-legacy", "ahci"])
def test_streamed_weights_say_what_whole_ones_say(machine, disk, bus):
    once = [*ONCE, "--disk", disk, "--disk-bus", bus]
    whole = machine.boot(*once, "--set", "weights=disk")
    assert whole.status == 0 and whole.record("model")["source"] == "disk"
    for ring, resident in ("0", "true"), ("1", "false"):
        run = machine.boot(*once, "--set", "weights=stream", "--set", f"ring={ring}")
        assert run.status == 0 and run.record("model")["source"] == "stream"
        assert run.record("stream")["resident"] == resident
        assert run.output == whole.output


def test_a_model_that_is_damaged_is_told_and_nothing_is_made_up(machine, disk, tmp_path):
    damaged = bytearray(MODEL.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    image = make_volume(tmp_path / "damaged.img")
    put(image, "model.wllm", bytes(damaged))
    run = machine.boot(*ONCE, "--disk", image, "--set", "weights=stream")
    assert run.status != 0
    assert "damaged" in run.record("error")["what"]
