"""Golden values of torch-fidelity: run by hand, its output is torch_fidelity.json.

torch-fidelity needs torchvision, which the tests do without; so its own modules are loaded here one
by one from where `pip install --target FOLDER --no-deps torch-fidelity==0.4.0` put them.

    python tests/parity/make_torch_fidelity.py FOLDER
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent


def inception_state(like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random weights under which features neither vanish nor grow, in the order of names."""
    generator = torch.Generator().manual_seed(19)
    state = {}
    for name, tensor in sorted(like.items()):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
            continue
        random = torch.randn(tensor.shape, generator=generator)
        if name.endswith("conv.weight"):
            state[name] = random * (2 / tensor[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 1 + 0.1 * random.abs()
        elif name.endswith("bn.weight"):
            state[name] = 1 + 0.1 * random
        else:
            state[name] = 0.05 * random
    return state


def images() -> Tensor:
    """(2, 3, 41, 64) uint8."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (2, 3, 41, 64), generator=generator).to(torch.uint8)


def feature_pair() -> tuple[Tensor, Tensor]:
    """Two sets of 300 and 280 features of 16 dimensions, and of different spread."""
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(300, 16, generator=generator)
    second = torch.randn(280, 16, generator=generator) * 1.3 + 0.2
    return first, second


def main(folder: str) -> None:
    """Write the values beside this file."""
    sys.path.insert(0, folder)
    for missing in ("torchvision", "torchvision.transforms", "torchvision.datasets", "tqdm"):
        module = types.ModuleType(missing)
        module.__dict__.update(tqdm=lambda x, **_: x, CIFAR10=object, STL10=object, CIFAR100=object)
        sys.modules.setdefault(missing, module)
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [f"{folder}/torch_fidelity"]
    sys.modules["torch_fidelity"] = package
    around = types.ModuleType("torch_fidelity.utils")  # what the metrics' formulas do not need
    around.__dict__["__getattr__"] = lambda _: None
    sys.modules["torch_fidelity.utils"] = around
    network = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    made = network.FeatureExtractorInceptionV3.__new__(network.FeatureExtractorInceptionV3)
    network.__dict__["load_state_dict_from_url"] = lambda *_, **__: {}
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_, **__: None  # pyright: ignore[reportAttributeAccessIssue]
    made.__init__("inception", ["2048", "logits_unbiased"])
    torch.nn.Module.load_state_dict = load
    state = inception_state(made.state_dict())
    made.load_state_dict(state)
    features, logits = made(images())
    first, second = feature_pair()
    names = ("metric_fid", "metric_kid", "metric_prc", "metric_isc")
    fid, kid, prc, isc = (importlib.import_module(f"torch_fidelity.{name}") for name in names)
    statistics = [fid.fid_features_to_statistics(x.double()) for x in (first, second)]
    values = {
        "keys": sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()),
        "features": features[:, ::128].tolist(),
        "features_mean": features.double().mean(dim=1).tolist(),
        "logits": logits[:, ::63].tolist(),
        "frechet": fid.fid_statistics_to_metric(*statistics, verbose=False),
        "kid": kid.kid_features_to_metric(
            first.double(), second.double(), kid_subsets=20, kid_subset_size=100, rng_seed=0,
            verbose=False,
        ),
        "precision_recall": prc.prc_features_to_metric(first, second, verbose=False),
        "inception_score": isc.isc_features_to_metric(first, rng_seed=3),
        "permutation": np.random.RandomState(3).permutation(300).tolist(),
    }  # fmt: skip
    (HERE / "torch_fidelity.json").write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
