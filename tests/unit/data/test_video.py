"""Videos: every frame changed, times and sound kept, nothing half-written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data import video
from gan_slimming.data.destinations import plan
from gan_slimming.errors import UserError
from gan_slimming.workflows.translate import TranslationWarning, translate

av = pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")

FRAMES = 12


class Negative(nn.Module):
    contract = InputContract(multiple_of=4, min_size=8)

    def forward(self, images: Tensor) -> Tensor:
        return -images


def film(path: Path, width: int = 44, height: int = 36) -> Path:
    """Grey frames, each lighter than the last, ten a second, and a second of silence."""
    with av.open(str(path), "w") as made:
        images = made.add_stream("mpeg4", rate=10)
        images.width, images.height, images.pix_fmt = width, height, "yuv420p"
        sound = made.add_stream("aac", rate=8000)
        for number in range(FRAMES):
            pixels = np.full((height, width, 3), 20 * number, np.uint8)
            made.mux(images.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for number in range(10):
            silence = np.zeros((1, 800), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.rate, frame.pts = 8000, 800 * number
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))
        made.mux(images.encode(None))
    return path


def greys(path: Path) -> tuple[list[float], list[float], int]:
    """Mean level and time of every frame, and frames of sound."""
    with av.open(str(path)) as given:
        seen = [(f.to_ndarray(format="rgb24").mean(), f.time) for f in given.decode(video=0)]
    with av.open(str(path)) as given:
        sound = sum(1 for _ in given.decode(audio=0))
    return [level for level, _ in seen], [time for _, time in seen], sound


LISTS = {
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, kind: str, suffix: str) -> None:
    secret = film(tmp_path / "secret.mp4")
    file = (tmp_path / "x").with_suffix(suffix)
    file.write_text(LISTS[kind].format(secret=secret))
    with pytest.raises(UserError, match="it is no MP4, MOV, Matroska, WebM or AVI file"):
        translate(Negative(), [file], tmp_path / "out", device="cpu")
    assert not (tmp_path / "out" / file.name).exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_every_kind_of_container_is_opened_by_what_it_holds(tmp_path: Path, suffix: str) -> None:
    source = film((tmp_path / "a").with_suffix(suffix)).rename(tmp_path / "b.mp4")
    with video.open_video(source) as given:
        assert sum(1 for _ in given.decode(video=0)) == FRAMES


@pytest.mark.parametrize(("width", "height"), [(44, 36), (42, 34)])
def test_frames_change_and_times_and_sound_stay(tmp_path: Path, width: int, height: int) -> None:
    source = film(tmp_path / "a.mp4", width, height)
    told = translate(Negative(), [source], tmp_path / "out", device="cpu")
    assert (told["translated"], told["frames"], told["failed"]) == (1, FRAMES, [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]
    before, times, sound = greys(source)
    after, later, kept = greys(tmp_path / "out" / "a.mp4")
    assert after == pytest.approx([255 - level for level in before], abs=4)
    assert later == pytest.approx(times, abs=1e-3)
    assert sound == kept > 0


def test_a_video_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    good = film(tmp_path / "good.mp4")
    with pytest.warns(TranslationWarning, match=r"1 of 2 .*bad.mp4"):
        told = translate(Negative(), [tmp_path / "bad.mp4", good], tmp_path / "out", device="cpu")
    assert told["translated"] == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.mp4"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    count = iter(range(5))

    def change(image: Tensor) -> Tensor:
        if next(count) == 4:
            raise KeyboardInterrupt
        return image

    source = film(tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt):
        video.translate_video(source, tmp_path / "out" / "b.mp4", change)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_does_not_go_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="is one video file; give one video, or name a folder"):
        plan([tmp_path / "a.png"], tmp_path / "b.mp4", overwrite=False)
    with pytest.raises(UserError, match="is a video; name a folder, or a new video file"):
        plan([source], tmp_path / "b.png", overwrite=False)
    with pytest.raises(UserError, match=r"absent.mp4 does not exist"):
        plan([tmp_path / "absent.mp4"], tmp_path / "out", overwrite=False)
    assert plan([source], tmp_path / "b.mp4", overwrite=False)[0].target == tmp_path / "b.mp4"
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need PyAV; pip install 'gan-slimming\[video\]'"):
        plan([source], tmp_path / "out", overwrite=False)


def test_a_larger_image_makes_a_larger_video(tmp_path: Path) -> None:
    def twice(image: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(image[None], scale_factor=2)[0]

    video.translate_video(film(tmp_path / "a.mp4"), tmp_path / "b.mp4", twice)
    with av.open(str(tmp_path / "b.mp4")) as made:
        stream = made.streams.video[0]
        assert (stream.width, stream.height) == (88, 72)
