"""Dropout that a forward calls as a function: left out, and noticed where it would drop."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gan_slimming.config import InputContract
from gan_slimming.models.as_declared import as_declared
from gan_slimming.models.dropout import DROPS, WithoutDropout


@pytest.mark.parametrize("function", DROPS, ids=lambda function: function.__name__)
def test_each_kind_is_left_out_and_noticed(function) -> None:
    x = torch.rand(2, 3, *[4] * {"dropout1d": 1, "dropout3d": 3}.get(function.__name__, 2))
    with WithoutDropout() as mode:
        assert function(x, 0.5, False) is x
        assert not mode.found
        assert function(x, p=0.5, training=True) is x
    assert mode.found
    assert not torch.equal(function(x, 0.5, True), x)


def test_attention_keeps_its_values() -> None:
    q = torch.rand(1, 4, 8)
    with WithoutDropout() as mode:
        made = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    assert mode.found
    torch.testing.assert_close(made, F.scaled_dot_product_attention(q, q, q))


def test_a_contract_that_leaves_it_out_joins_what_was_declared_before() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, F.dropout(x, 0.5) + 1

    net, x = Net(), torch.rand(1, 3, 8, 8)
    as_declared(net, InputContract(output="1"))
    assert not torch.equal(net(x), x + 1)
    kind = type(net)
    as_declared(net, InputContract(output="1", dropout="off"))
    assert torch.equal(net(x), x + 1)
    assert type(net).__bases__ == kind.__bases__
