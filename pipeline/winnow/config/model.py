"""Which encoder, and how it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from winnow.config.file_names import NamesFile


class ModelConfig(BaseModel):
    """An open_clip model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False
    )

    #: open_clip architecture, or `local-dir:FOLDER` with config and weights.
    name: Annotated[str, NamesFile(after="local-dir:")] = "ViT-B-32"
    #: open_clip tag or weight file; `local-dir:` brings its own weights.
    pretrained: Annotated[str | None, NamesFile(if_there=True)] = None
    #: What the towers compute in; auto: bfloat16 where the processor has it, float16 on
    #: a GPU, else float32.
    precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    #: What computes on a CPU. openvino (extra `cpu`) is faster and gives vectors that
    #: differ in the last digits; auto is torch, whatever is installed.
    runtime: Literal["auto", "torch", "openvino"] = "auto"
    #: Samples of one forward pass.
    batch_size: Annotated[int, Field(gt=0)] = 64
    #: Images with more pixels are quarantined before they are decoded.
    max_pixels: Annotated[int, Field(gt=0)] = 100_000_000
    #: Colour behind transparent images: white, black, or `#rrggbb`; `drop` ignores
    #: transparency, as open_clip does.
    background: Annotated[
        str, Field(pattern=r"^(white|black|drop|#[0-9a-fA-F]{6})$")
    ] = "white"
    #: Whether pixels are exactly those of open_clip; otherwise a large JPEG is decoded
    #: at the half, quarter or eighth of its size that still has twice the pixels that
    #: the model takes, across and down, and any picture that large resized by torch.
    exact_decode: bool = True
    #: Decoding threads; none: as many as the machine has cores.
    decode_threads: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _weights_of_folder(cls, values: Any) -> Any:
        """Forget a recipe's tag when `model.name` is set to a local folder."""
        if isinstance(values, dict) and str(values.get("name")).startswith("local-dir"):
            return {**values, "pretrained": None}
        return values
