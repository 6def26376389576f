"""Of a recipe: the task, its pictures, how inputs are degraded, and a teacher."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from evo_c2f.sections.section import Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]
Channels = Annotated[int, Field(ge=1, le=16)]
Depth = Literal[8, 16, "float"]  # bits of a channel, or floats in 0..1


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{list(ends)} is no range; name the least first, then the most")
    return ends


Strengths = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ascending)]
Quality = Annotated[int, Field(ge=1, le=100)]


class TaskSection(Section):
    name: Literal["super-resolution"]
    scale: Literal[1, 2, 3, 4, 8] = 4  # 1: restoration, of what `data.degradation` degrades
    channels: Channels = 3  # 1: grey; 3: RGB


class TranslationSection(Section):
    name: Literal["translation"]
    input_channels: Channels = 3
    output_channels: Channels = 3
    bounded: bool = False  # outputs pass a sigmoid, so that white and black are reached and kept (docs/decisions/0020)


class BlurSection(Section):
    sigma: Strengths  # in pixels; an anisotropic blur draws it twice, along a direction and across it
    kinds: Annotated[list[Literal["isotropic", "anisotropic"]], Field(min_length=1)] = ["isotropic"]
    chance: Share = 1.0


class ResizeSection(Section):
    filters: Annotated[list[Literal["area", "bilinear", "bicubic"]], Field(min_length=1)] = ["bicubic"]
    factor: Strengths = (1.0, 1.0)  # of the first of two passes; the last one makes the input's size


class NoiseSection(Section):
    sigma: Strengths  # of 255; poisson noise has it at white, and less where it is darker
    kinds: Annotated[list[Literal["gaussian", "poisson"]], Field(min_length=1)] = ["gaussian"]
    chance: Share = 1.0


class JpegSection(Section):
    quality: Annotated[tuple[Quality, Quality], AfterValidator(_ascending)]
    chance: Share = 1.0


class DegradationSection(Section):
    """How photographs become inputs: by these steps in this order, their strengths drawn anew for each patch."""

    blur: BlurSection | None = None
    resize: ResizeSection | None = None  # null: bicubic, to the input's size
    noise: NoiseSection | None = None
    jpeg: JpegSection | None = None
    times: Literal[1, 2] = 1  # passes over all steps
    order: Literal["fixed", "random"] = "fixed"
    plugin: str | None = None  # a plugin's function, in place of all steps

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.plugin and self.model_dump(exclude_defaults=True) != {"plugin": self.plugin}:
            raise ValueError(f"plugin {self.plugin} takes the place of all steps; leave out the others")
        return self


class DataSection(Section):
    folder: str | None = None  # 'embedded': the photographs inside scikit-image and scikit-learn
    inputs: str | None = None  # the folder of their inputs, as seen from `folder`: ../lq; null: looked for within it
    benchmarks: list[str] = []  # folders whose images must not stand in the training folder
    patch: Positive  # side of a low-resolution patch
    batch: Positive
    validation_images: Positive  # held out of training
    validation_crops: Positive  # all subnets are measured on these; the final front on the whole images
    crop: Positive  # side of a crop in high-resolution pixels
    target: Literal["pictures", "teacher"] = "pictures"  # what is learnt: the photographs, or a teacher's outputs
    degradation: DegradationSection | None = None  # null: inputs are bicubic reductions, unless the folder holds others
    depth: Depth = 8  # that pictures are read with


class PairsSection(Section):
    """Pairs in train/ and val/ or test/: A|B side by side, or in two folders. 'openmoji': rendered, and cached.

    With `target: teacher`, the pictures are inputs alone, in these folders or all in one; or of two domains without
    pairs, in trainA/, trainB/, testA/ and testB/.
    """

    folder: str | None = None
    inputs: str | None = None  # the folder of the inputs, if they lie apart, as seen from `folder`: ../inputs
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    load_size: Positive | None = None  # side of the square that images are resized to; null takes them as they are
    crop: Positive  # side of the square cut out of these for training
    flip: bool = True
    batch: Positive
    validation_images: Positive  # all subnets are measured on these; the final front on all that are held out
    target: Literal["pictures", "teacher"] = "pictures"  # what is learnt: an input's partner, or a teacher's output
    depth: Depth = 8  # that pictures are read with


class TeacherSection(Section):
    """A trained network to learn from, which `--teacher` sets. It runs once an image; its outputs are kept on disk."""

    file: str | None = None  # an .onnx, .pth or .safetensors file, or the name that a plugin gave it
    digest: str = ""  # of the file's content, when the run was begun
    range: Literal["auto", "0..1", "-1..1", "0..255"] = "auto"  # of its input and output; auto: found out
    cache: str | None = None  # the folder for its outputs; null: teacher/ in the run's folder
    cache_gb: Annotated[float, Field(gt=0)] = 10.0  # the oldest outputs beyond it are removed, and computed again
