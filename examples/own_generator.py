"""Compress your own generator, here a small U-Net.

    python examples/own_generator.py PHOTOS OUTPUT

Any nn.Module from images (or noise) to images will do; `contract` describes its inputs. The same
from a shell: gan-slimming compress --generator own_generator:UNet --weights FILE --data PHOTOS ...
"""

import sys

import torch
from torch import Tensor, nn

import gan_slimming as gs


class UNet(nn.Module):
    contract = gs.InputContract(multiple_of=2)

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.last = nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        skip = self.first(images)
        joined = torch.cat([skip, torch.relu(self.up(self.down(skip)))], dim=1)
        return torch.tanh(self.last(joined))


if __name__ == "__main__":
    photos, output = sys.argv[1:]
    teacher = UNet()  # load your trained weights here
    quick = gs.Optimisation(steps=20, slim_share=0.5, batch_size=1)
    run = gs.Run(budget=gs.Budget(macs=0.3), optimisation=quick, size=64, holdout=1)
    done = gs.compress(teacher, photos, output, run)
    print(f"{done.summary['macs'] / done.summary['teacher_macs']:.0%} of the work,", end=" ")
    print(f"{done.summary['size_bytes']} bytes of {done.summary['teacher_size_bytes']}")
