"""Pictures in and out: files, training sets, and the border between pictures and generators."""

from gan_slimming.data.folder import PictureSet, PictureWarning, open_folder
from gan_slimming.data.image_files import (
    SUFFIXES,
    CropBox,
    Picture,
    PictureError,
    crop_back,
    from_contract,
    list_pictures,
    pad_to_multiple,
    read_picture,
    to_contract,
    write_picture,
)
from gan_slimming.data.sampler import Sampler

__all__ = [
    "SUFFIXES",
    "CropBox",
    "Picture",
    "PictureError",
    "PictureSet",
    "PictureWarning",
    "Sampler",
    "crop_back",
    "from_contract",
    "list_pictures",
    "open_folder",
    "pad_to_multiple",
    "read_picture",
    "to_contract",
    "write_picture",
]
