"""Which files a published data set consists of, where they lie, and what is known of each. Importing it loads no torch.

Sizes and sums are the publisher's where the publisher gives them. The others are those that widely used loaders check
files against: torchvision (ImageNet) and TensorFlow Datasets (Stanford Dogs, Stanford Cars).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tks_edge_runtime.errors import MissingError


@dataclass(frozen=True)
class Published:
    """A file as it is published.

    Attributes:
        name: of the file.
        size: in bytes.
        algorithm: of its sum, "md5" or "sha256".
        digest: its sum, in hexadecimal digits.
        holds: what lies in the data set's folder once it is unpacked there, or the file itself is there.
        url: where it can be had without an account; None where it cannot.
    """

    name: str
    size: int
    algorithm: str
    digest: str
    holds: tuple[str, ...]
    url: str | None = None

    def __str__(self) -> str:
        known = f"{self.size:,} bytes, {self.algorithm.upper()} {self.digest}"
        return f"{self.name} ({known})" if self.holds == (self.name,) else f"{self.held} from {self.name} ({known})"

    @property
    def held(self) -> str:
        """What lies in the folder, in words."""
        return ", ".join(self.holds)


@dataclass(frozen=True)
class Expected:
    """What a data set consists of.

    Attributes:
        folder: where it lies below --data, if --data is not its folder itself.
        mark: what --data holds if it is.
        files: what it consists of.
        source: where it comes from, in a few words.
        accepted: what else is taken.
    """

    folder: str
    mark: str
    files: tuple[Published, ...]
    source: str
    accepted: str | None = None

    def base(self, root: Path) -> Path:
        """The folder that holds the set: `root`, or one in it."""
        return root if (root / self.mark).exists() else root / self.folder


EXPECTED = {
    "cifar10": Expected(
        folder=".",
        mark="cifar-10-batches-py/",
        files=(
            Published(
                "cifar-10-python.tar.gz",
                170_498_071,
                "md5",
                "c58f30108f718f92721af3b95e74349a",
                ("cifar-10-batches-py/",),
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            ),
        ),
        source="www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": Expected(
        folder=".",
        mark="cifar-100-python/",
        files=(
            Published(
                "cifar-100-python.tar.gz",
                169_001_437,
                "md5",
                "eb9058c3a382ffc7106e4002c42a8d85",
                ("cifar-100-python/",),
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            ),
        ),
        source="www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "imagenet": Expected(
        folder="imagenet",
        mark="train/",
        files=(
            Published(
                "ILSVRC2012_img_train.tar",
                147_897_477_120,
                "md5",
                "1d675b47d978889d74fa0da5fadfb00e",
                ("train/",),
            ),
            Published("ILSVRC2012_img_val.tar", 6_744_924_160, "md5", "29b22e2961454d5413ddabcf34fc5622", ("val/",)),
        ),
        source="image-net.org, for those who have registered there",
        accepted="train/ and val/ hold one folder of images for each WordNet ID, as torchvision's ImageNet unpacks the "
        "archives. Where val/ holds the images themselves, ILSVRC2012_devkit_t12.tar.gz (MD5 "
        "fa75699e90414af021442c21a62c3abf), or the folder it unpacks to, must lie beside it.",
    ),
    "cub200": Expected(
        folder="CUB_200_2011",
        mark="images.txt",
        files=(
            Published(
                "CUB_200_2011.tgz",
                1_150_585_339,
                "md5",
                "97eceeb196236b17998738112f37df78",
                ("images/", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"),
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            ),
        ),
        source="data.caltech.edu/records/65de6-vp158",
    ),
    "stanford-dogs": Expected(
        folder="stanford_dogs",
        mark="Images/",
        files=(
            Published(
                "images.tar",
                793_579_520,
                "sha256",
                "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                ("Images/",),
                "http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar",
            ),
            Published(
                "lists.tar",
                481_280,
                "sha256",
                "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                ("train_list.mat", "test_list.mat"),
                "http://vision.stanford.edu/aditya86/ImageNetDogs/lists.tar",
            ),
        ),
        source="vision.stanford.edu/aditya86/ImageNetDogs",
        accepted="The lists may also lie in lists/.",
    ),
    "stanford-cars": Expected(
        folder="stanford_cars",
        mark="devkit/",
        files=(
            Published(
                "car_devkit.tgz",
                330_960,
                "sha256",
                "b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
                ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat"),
            ),
            Published(
                "cars_train.tgz",
                979_269_282,
                "sha256",
                "512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
                ("cars_train/",),
            ),
            Published(
                "cars_test.tgz",
                977_350_468,
                "sha256",
                "bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
                ("cars_test/",),
            ),
            Published(
                "cars_test_annos_withlabels.mat",
                185_758,
                "sha256",
                "790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
                ("cars_test_annos_withlabels.mat",),
            ),
        ),
        source="ai.stanford.edu/~jkrause/cars, which is gone: neither this program nor torchvision can fetch it",
        accepted="cars_test_annos_withlabels.mat may also lie in devkit/.",
    ),
}
"""The published sets, by name; those that are embedded, or the user's own, are not among them."""


def not_there(name: str, root: Path, lacking: str) -> MissingError:
    """The error for a data set of which `lacking` is not at `root`: what is expected where, and how to get it."""
    expected = EXPECTED[name]
    base = expected.base(root)
    files = "; ".join(map(str, expected.files))
    fetch = " Or add --download." if all(file.url for file in expected.files) else ""
    also = f" {expected.accepted}" if expected.accepted else ""
    return MissingError(
        f"{name} is not whole in {root}: {lacking}. {base}/ is to hold {files}. It comes from {expected.source}.{also} "
        f"Put it there, or give its folder with --data.{fetch}"
    )
