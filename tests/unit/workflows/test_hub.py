"""push and pull against a Hub on this machine: what goes up comes down, checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

huggingface_hub = pytest.importorskip("huggingface_hub")

from safetensors.torch import save_file  # noqa: E402
from tests.local_hub import TOKEN, Hub, serving_hub  # noqa: E402

import gan_slimming as gs  # noqa: E402
from gan_slimming.errors import UserError  # noqa: E402
from gan_slimming.models import build_generator, spec_of  # noqa: E402
from gan_slimming.serialization.generator_file import save_generator  # noqa: E402
from gan_slimming.serialization.hub import CARD, WEIGHTS  # noqa: E402
from gan_slimming.serialization.model_record import RECORD  # noqa: E402
from gan_slimming.workflows.hub import pull, push  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of huggingface_hub's own
REPO = "ada/tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Return a Hub, to which HF_ENDPOINT and HF_TOKEN point."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file of a tiny generator, and beside it the result of an evaluation."""
    folder = tmp_path_factory.mktemp("model")
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    file = folder / WEIGHTS
    size = save_generator(
        generator, file, spec_of(generator), provenance={"teacher_sha256": "ab", "steps": 3}
    )
    told = {
        "results": [
            {"model": "m", "metric": "lpips", "value": 0.25, "low": 0.2, "high": 0.3, "images": 4,
             "direction": "lower", "unit": "", "protocol": {}},
        ],
        "models": [
            {"model": "m", "teacher": "cartoongan:/home/ada/Hayao.pth", "parameters": 10,
             "macs": 20, "size": [32, 48], "size_bytes": size},
        ],
        "protocol": {"data": "/home/ada/photos", "seed": 0},
        "environment": {"commit": None},
    }  # fmt: skip
    (folder / "judged.json").write_text(json.dumps(told))
    return str(file)


def pushed(model: str, **options: object) -> dict[str, object]:
    """Push with the evaluation beside the file."""
    judged = Path(model).with_name("judged.json")
    return push(model, REPO, licence="MIT", evaluation=judged, **options)  # pyright: ignore


def test_what_is_pushed_comes_back(hub: Hub, model: str, tmp_path: Path) -> None:
    told = pushed(model)
    assert set(hub.repos[REPO]["main"]) == {WEIGHTS, RECORD, CARD}
    back = pull(REPO, tmp_path / "back")
    assert (tmp_path / "back" / WEIGHTS).read_bytes() == Path(model).read_bytes()
    assert back["sha256"] == told["sha256"]
    assert back["licence"] == "MIT"
    gs.load_generator_file(back["generator"])
    # A pulled folder has its record, and goes up again without a word.
    again = push(str(tmp_path / "back"), "ada/again", dry_run=True)
    assert again["sha256"] == told["sha256"]
    assert "lpips" in str(again["card"])


def test_the_card_is_made_of_the_record_and_tells_no_folders(hub: Hub, model: str) -> None:
    card = str(pushed(model, dry_run=True)["card"])
    assert hub.asked == []
    assert "/home/ada" not in card
    _, matter, text = card.split("---\n", 2)
    front = yaml.safe_load(matter)
    assert front["license"] == "mit"
    assert front["pipeline_tag"] == "image-to-image"
    result = front["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == 0.25
    assert result["dataset"]["name"] == "photos"
    assert "Hayao.pth" in text
    assert "gan-slimming pull ada/tiny --output tiny\ngan-slimming translate tiny photo.jpg" in text
    assert "for one image of 48x32 | 20 |" in text


def test_a_branch_and_a_private_repository(hub: Hub, model: str, tmp_path: Path) -> None:
    pushed(model, revision="v1", private=True)
    assert hub.private == {REPO}
    assert hub.repos[REPO]["main"] == {}
    with pytest.raises(UserError, match=r"holds no generator\.safetensors"):
        pull(REPO, tmp_path / "a")
    assert pull(REPO, tmp_path / "a", revision="v1")["licence"] == "MIT"
    with pytest.raises(UserError, match="has no revision v2; name a branch"):
        pull(REPO, tmp_path / "b", revision="v2")


def test_a_token_is_needed(
    hub: Hub, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(model, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(UserError, match="is private; check the name, or set HF_TOKEN"):
        pull(REPO, tmp_path / "a")
    with pytest.raises(UserError, match=r"refuses ada/tiny .401.; set HF_TOKEN to a token that"):
        pushed(model)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="push needs a token with write access: set HF_TOKEN"):
        pushed(model)


def test_damage_on_the_way_and_another_file_than_the_record_says(
    hub: Hub, model: str, tmp_path: Path
) -> None:
    pushed(model)
    hub.damage = b"more"
    with pytest.raises(UserError):
        pull(REPO, tmp_path / "a")
    hub.damage = b""
    other = tmp_path / "other.safetensors"
    generator = build_generator("cartoongan", width=3, blocks=1).eval()
    save_generator(generator, other, spec_of(generator))
    hub.repos[REPO]["main"][WEIGHTS] = other.read_bytes()
    with pytest.raises(UserError, match="is not the file of its record"):
        pull(REPO, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_is_no_generator_is_refused(hub: Hub, tmp_path: Path) -> None:
    files = {"pytorch_model.bin": b"pickle"}
    hub.repos[REPO] = {"main": files}
    with pytest.raises(UserError, match=r"holds no generator.safetensors .* but pytorch_model.bin"):
        pull(REPO, tmp_path / "a")
    import torch

    save_file({"w": torch.zeros(1)}, tmp_path / "plain.safetensors")
    files[WEIGHTS] = (tmp_path / "plain.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"ada/tiny: generator.safetensors is a safetensors file"):
        pull(REPO, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not any("pytorch_model" in line and "resolve" in line for line in hub.asked)


def test_mistakes_are_refused_before_the_hub_is_asked(hub: Hub, model: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="REPO is USER/NAME on the Hub"):
        pull("tiny", tmp_path / "a")
    (tmp_path / CARD).write_text("mine")
    with pytest.raises(UserError, match=r"README.md exists already; replace it with --overwrite"):
        pull(REPO, tmp_path)
    with pytest.raises(UserError, match="say under which licence"):
        push(model, REPO, evaluation=Path(model).with_name("judged.json"))
    with pytest.raises(UserError, match="nothing tells its quality; give --evaluation"):
        push(model, REPO, licence="MIT")
    with pytest.raises(UserError, match="cartoongan is no generator that was made small"):
        push("cartoongan", REPO, licence="MIT")
    with pytest.raises(UserError, match="is no result of evaluate"):
        push(model, REPO, licence="MIT", evaluation=model)
    assert hub.asked == []


def test_a_hub_that_cannot_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach http://127.0.0.1:9") as caught:
        pull(REPO, tmp_path / "a")
    assert "\n" not in str(caught.value)
