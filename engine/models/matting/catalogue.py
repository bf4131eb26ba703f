"""The networks that cut out, by the names that rembg gave them. Only those whose weights may be used for any purpose.

Sizes and digests are of the files in rembg's release v0.0.0; what a network wants of its picture, of its authors' code.
"""
from __future__ import annotations

from dataclasses import dataclass

from ..spec import ModelSpec, WeightFile

_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"


@dataclass(frozen=True)
class CutterSettings:
    """There is nothing to choose."""


@dataclass(frozen=True)
class Cutter:
    """A network. side_px: the square it wants. mean, deviation: of sRGB in [0, 1], taken off and divided by.

    by_brightest: the picture is divided by its brightest value first. raw: it answers with numbers whose sigmoid is
    the mask.
    """

    spec: ModelSpec
    side_px: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    by_brightest: bool = False
    raw: bool = False


def _spec(name: str, title: str, licence: str, licence_url: str, ram_bytes: int, file: WeightFile) -> ModelSpec:
    return ModelSpec(name=name, title=title, licence=licence, licence_url=licence_url, commercial_use=True,
                     ram_bytes=ram_bytes, vram_bytes=0, files=(file,), stages=("cutout",), settings=CutterSettings,
                     kind="cutout")


_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)   # of ImageNet
_ALL = (
    Cutter(_spec("u2net", "U2-Net", "Apache-2.0", "https://github.com/xuebinqin/U-2-Net", 600_000_000, WeightFile(
        "u2net.onnx", 175_997_641, "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        f"{_RELEASE}u2net.onnx")), 320, _MEAN, _DEVIATION, by_brightest=True),
    Cutter(_spec("isnet-general-use", "IS-Net", "Apache-2.0", "https://github.com/xuebinqin/DIS", 1_200_000_000,
                 WeightFile("isnet-general-use.onnx", 178_648_008,
                            "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
                            f"{_RELEASE}isnet-general-use.onnx")),
           1024, mean=(0.5, 0.5, 0.5), deviation=(1.0, 1.0, 1.0), by_brightest=True),
    Cutter(_spec("birefnet-general", "BiRefNet", "MIT", "https://github.com/ZhengPeng7/BiRefNet", 7_000_000_000,
                 WeightFile("BiRefNet-general-epoch_244.onnx", 972_666_916,
                            "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
                            f"{_RELEASE}BiRefNet-general-epoch_244.onnx")),
           1024, _MEAN, _DEVIATION, by_brightest=True, raw=True),
)
CUTTERS: dict[str, Cutter] = {cutter.spec.name: cutter for cutter in _ALL}
