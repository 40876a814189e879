"""The settings of the steps that filter by scores and against other sets."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from winnow.config.file_names import FileName, NamesFile
from winnow.config.model import ModelConfig
from winnow.config.section import Modality, Positive, StepConfig, TiedBudget
from winnow.config.step_kinds import SCORES, Score, score_of
from winnow.core.errors import did_you_mean
from winnow.core.extensions import load_part


class OutsideSet(StepConfig):
    """Images, captions or vectors beside the pool: a target, an evaluation set.

    A path alone stands for the section with that path.
    """

    #: A `.npy` matrix, or a Parquet file, folder or glob.
    path: FileName
    #: What the ledger calls it. None: the last part of the path.
    name: str | None = None
    #: List column of ready-made vectors. None: `image` is embedded by the model.
    vectors: str | None = None
    #: The set's column of images.
    image: str | None = "image"
    #: The set's column of captions.
    text: str | None = "text"
    #: None: rows are called by shard and number.
    uid: str | None = "uid"

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, values: Any) -> Any:
        return {"path": values} if isinstance(values, str) else values

    @property
    def title(self) -> str:
        """The name it goes by."""
        return self.name or PurePath(self.path.rstrip("/")).name


class VasDOptions(StepConfig):
    """What `score.options` holds for `vas_d`."""

    #: Rounds in which the pool shrinks to the budget.
    rounds: Annotated[int, Field(gt=0, le=500)] = 20


class HeadOptions(StepConfig):
    """What `score.options` holds for `head`."""

    #: Which vector the head is on.
    on: Modality = "image"
    #: The file's layers in their order; empty: all, numbers in names by value.
    layers: tuple[str, ...] = ()
    #: Between two layers.
    activation: Literal["none", "relu", "gelu", "tanh", "sigmoid"] = "none"
    #: The output as it is, its logistic value, or its part of the softmax of all.
    output: Literal["number", "sigmoid", "softmax"] = "number"
    #: Which output is the score, from 0.
    index: Annotated[int, Field(ge=0)] = 0


class ScoreTerm(StepConfig):
    """One way to score a pair."""

    #: alignment, alignment_mirrored, alignment_no_digits, alignment_masked,
    #: neg_clip_loss, norm_sim, vas, vas_d, head, or a score of another package.
    method: str = "alignment"
    #: Of negCLIPLoss: T, which cosines are divided by.
    temperature: Annotated[float, Field(gt=0.0)] = 0.01
    #: Of negCLIPLoss: rows of a random batch.
    batch: Annotated[int, Field(gt=1)] = 32_768
    #: Of negCLIPLoss: how many random batches are averaged.
    repeats: Positive = 10
    #: Of NormSim and VAS: where the target's vectors come from.
    target: OutsideSet | None = None
    #: Of NormSim: the norm over the target. inf: the similarity to the nearest target,
    #: signed; abs_inf: the largest absolute one (the paper's); 2: the Euclidean norm.
    p: Literal["inf", "abs_inf", 2] = "inf"
    #: Of alignment_masked: the pool's column of boxes [x0, y0, x1, y1] or polygons in
    #: pixels of the upright picture, as lists or their JSON; what they cover is painted
    #: in the colour around it.
    masks: Annotated[str, Field(min_length=1)] | None = None
    #: Of head: the `.safetensors` file of its linear layers.
    weights: Annotated[Annotated[str, Field(min_length=1)] | None, NamesFile()] = None
    #: Of vas_d: `rounds`. Of head: `on`, `layers`, `activation`, `output`, `index`. Of
    #: a score of another package: what it says it takes.
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _method_known(self) -> ScoreTerm:
        score = SCORES.get(self.method)
        if score is None:
            hint = did_you_mean(self.method, SCORES.names())
            raise ValueError(f"method: unknown score '{self.method}'; {hint}")
        if score.target != (self.target is not None):
            raise ValueError("target goes with norm_sim and vas, which need it")
        if (score.variant == "masked") != (self.masks is not None):
            raise ValueError("masks goes with alignment_masked, which needs it")
        if score.weights != (self.weights is not None):
            raise ValueError("weights goes with head, which needs it")
        if score.options is None and self.options:
            raise ValueError(f"options: {self.method} takes none")
        if score.options is not None:
            load_part(score.options).model_validate(self.options)
        return self

    @property
    def kind(self) -> Score:
        """What is known of its method."""
        return score_of(self.method)

    @property
    def reads(self) -> tuple[Modality, ...]:
        """The modalities whose vectors it is made of."""
        if self.kind.options is not None:
            options = load_part(self.kind.options).model_validate(self.options)
            if (chosen := getattr(options, "on", None)) is not None:
                return (chosen,)
        return self.kind.reads


class WeightedTerm(ScoreTerm):
    """A score's part in a mixture."""

    #: Negative: a high value of this term lowers the mixture.
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    #: Its column in `artifacts/score/scores`. None: the method's name.
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None

    @property
    def title(self) -> str:
        """The name it goes by."""
        return self.name or self.method


class ScoreConfig(TiedBudget, ScoreTerm):
    """Image-text alignment and its relatives, alone or mixed."""

    #: Least score kept.
    threshold: float | None = None
    #: The filtering network; without it, the vectors of `embed` are scored.
    model: ModelConfig | None = None
    #: A mixture: Σ weight · normalised term. Empty: `method` alone, as it is.
    terms: tuple[WeightedTerm, ...] = ()
    #: How each term is scaled before it is weighed, over the rows that have all terms:
    #: standard, (x − mean) / standard deviation; range, (x − least) / (most − least).
    normalise: Literal["standard", "range", "none"] = "standard"

    @model_validator(mode="after")
    def _some_cut(self) -> ScoreConfig:
        if not self.has_budget and self.threshold is None:
            raise ValueError(
                "give keep_fraction, keep_count, threshold, or a budget and a threshold"
            )
        return self

    @model_validator(mode="after")
    def _mixture_or_method(self) -> ScoreConfig:
        fields = ScoreTerm.model_fields
        alone = set(fields) & self.model_fields_set
        if self.terms and any(
            getattr(self, name) != fields[name].get_default(call_default_factory=True)
            for name in alone
        ):
            raise ValueError(f"{min(alone)} belongs into one of the terms")
        titles = [term.title for term in self.terms]
        repeated = [title for title in titles if titles.count(title) > 1]
        if repeated:
            raise ValueError(f"two terms are called '{repeated[0]}'; give them a name")
        if len({term.masks for term in self.terms} - {None}) > 1:
            raise ValueError(
                "terms: the masks are of two columns; give each a score step of its own"
            )
        if {"uid", "score"} & set(titles):
            raise ValueError("a term cannot be called uid or score")
        return self

    @property
    def parts(self) -> tuple[ScoreTerm, ...]:
        """The terms, or the one method."""
        return self.terms or (self,)

    @property
    def read(self) -> tuple[Modality, ...]:
        """The modalities whose vectors its terms are made of, images first."""
        return tuple(sorted({name for term in self.parts for name in term.reads}))


class SoftCapConfig(StepConfig):
    """Soft-Cap Sampling by the scores of the `score` step before it."""

    #: Exact number of draws, or their number for each row that enters.
    total: Positive | None = None
    #: Draws for each row that enters; in place of `total`.
    total_fraction: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    #: Taken off a row's logit for each time that it was drawn; `.inf`: drawn once.
    penalty: Annotated[float, Field(ge=0.0, allow_inf_nan=True)] = 0.15
    #: A row's logit is its score divided by this.
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    #: Most draws of a row: with `penalty: 0` Hard-Cap Sampling. None: no limit.
    limit: Positive | None = None
    #: Draws between two updates of the logits, without repetition among them.
    batch: Positive = 1

    @model_validator(mode="after")
    def _one_total(self) -> SoftCapConfig:
        if (self.total is None) == (self.total_fraction is None):
            raise ValueError("give either total (draws) or total_fraction")
        return self


class DecontaminateConfig(StepConfig):
    """Drop what stands in an evaluation set, or nearly so."""

    against: Annotated[tuple[OutsideSet, ...], Field(min_length=1)]
    #: What is compared; a row that any criterion hits is dropped.
    by: Annotated[
        tuple[Literal["image_vectors", "perceptual_hash", "captions"], ...],
        Field(min_length=1),
    ] = ("image_vectors", "perceptual_hash", "captions")
    #: Cosine distance of two images up to which they are the same.
    max_distance: Annotated[float, Field(ge=0.0, le=2.0)] = 0.05
    #: Of the 64 bits of two images' hashes, how many may differ.
    max_bits: Annotated[int, Field(ge=0, lt=32)] = 6
    #: Words in a row that two captions share; shorter captions are not compared.
    ngram: Positive = 13

    @model_validator(mode="after")
    def _sets_have_names(self) -> DecontaminateConfig:
        titles = [given.title for given in self.against]
        repeated = [title for title in titles if titles.count(title) > 1]
        if repeated:
            raise ValueError(f"two sets are called '{repeated[0]}'; give them a name")
        return self


class TargetClustersConfig(StepConfig):
    """Keep images whose cluster is that of some image of a target set."""

    target: OutsideSet
    #: A `.npy` matrix of centroids. None: the clusters of the step `cluster` before.
    centroids: str | None = None
    #: Which of the given centroids is a vector's own: that of the largest cosine, or of
    #: the largest inner product, as DataComp's code takes for its centroids, which are
    #: not of unit length.
    nearest: Literal["cosine", "product"] = "cosine"

    @model_validator(mode="after")
    def _product_of_given(self) -> TargetClustersConfig:
        if self.nearest == "product" and self.centroids is None:
            raise ValueError("nearest: product goes with centroids from a file")
        return self
