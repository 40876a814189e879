"""The settings of each step, as they stand under its name in a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from winnow.config.file_names import MaybeFile
from winnow.config.keeper import Keeper
from winnow.config.section import (
    Fraction,
    Modality,
    Positive,
    RequiredBudget,
    StepConfig,
    TiedBudget,
)


class ExactConfig(StepConfig):
    """Exact duplicates, by any of three meanings of 'the same'."""

    #: What has to be equal, tried in this order: the file's bytes, the decoded pixels,
    #: the caption.
    by: tuple[Literal["image_bytes", "image_pixels", "caption"], ...] = ("image_bytes",)
    #: Which of equal rows stays: input columns or pixels, bytes, sharpness, alignment,
    #: each with asc or desc. Empty: the smallest uid.
    keeper: Keeper = ()

    @model_validator(mode="after")
    def _something(self) -> ExactConfig:
        if not self.by:
            raise ValueError("by: name image_bytes, image_pixels or caption")
        return self


class RulesConfig(StepConfig):
    """Bounds on caption and image; DataComp's basic filter by default."""

    #: Least words of a caption; null, here and below: not checked.
    min_words: int | None = 3
    #: Most words of a caption.
    max_words: int | None = None
    #: Least characters of a caption.
    min_chars: int | None = 6
    #: Most characters of a caption.
    max_chars: int | None = None
    #: Least pixels of the shorter side.
    min_side: int | None = 200
    #: Most that the longer side may be of the shorter one.
    max_aspect: float | None = 3.0
    #: ISO 639-1 codes that pass; DataComp's filter is ["en"]. None: not checked.
    languages: tuple[str, ...] | None = None
    #: What of a caption its language is read from: all of it as it stands (`whole`, as
    #: DataComp does), or its first 80 characters, capitals lowered (`start`).
    language_from: Literal["whole", "start"] = "whole"
    #: Input columns that hold the image's size, so that images need not be opened.
    width_column: str | None = None
    #: The column of heights, with width_column.
    height_column: str | None = None

    @model_validator(mode="after")
    def _both_sizes(self) -> RulesConfig:
        if (self.width_column is None) != (self.height_column is None):
            raise ValueError("give both width_column and height_column, or neither")
        if not (self.checks_image or self.checks_caption):
            raise ValueError("every rule is off; remove the step or set a bound")
        return self

    @property
    def checks_image(self) -> bool:
        """Whether a rule needs the image's size."""
        return self.min_side is not None or self.max_aspect is not None

    @property
    def checks_caption(self) -> bool:
        """Whether a rule needs the caption."""
        bounds = (self.min_words, self.max_words, self.min_chars, self.max_chars)
        return self.languages is not None or any(b is not None for b in bounds)


class SketchConfig(StepConfig):
    """How texts become MinHash sketches; only equal settings may be compared."""

    #: What a text is a set of: n words, n characters, the elements of a list; `auto`:
    #: n words, each character counting as one where a script has no spaces.
    unit: Literal["auto", "word", "char", "element"] = "auto"
    #: n: words, characters or elements of a shingle.
    ngram: Positive = 5
    #: Which differences do not count; NFC is always applied to texts.
    normalise: tuple[
        Literal[
            "nfc",
            "nfkc",
            "fold",
            "case",
            "code",
            "punctuation",
            "digits",
            "whitespace",
        ],
        ...,
    ] = ()
    #: Permutations: affine32 (32 bits), affine64, or datasketch's own before 2.0
    #: (legacy).
    scheme: Literal["affine32", "legacy", "affine64"] = "affine32"
    #: Hash of a shingle: SHA-1 as in datasketch, or a faster one.
    token_hash: Literal["sha1", "xxh32", "xxh64"] = "sha1"
    #: MinHash values of a text.
    num_perm: Annotated[int, Field(gt=1)] = 128
    #: Of the permutations; datasketch's is 1.
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    #: Both, or neither: then they follow from `weights` or `recall`.
    bands: Positive | None = None
    #: MinHash values of a band.
    rows: Positive | None = None
    #: Of false positives and false negatives: bands as datasketch chooses them.
    weights: tuple[Fraction, Fraction] | None = None
    #: Share of the pairs at the threshold that have to meet in a band.
    recall: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.94
    #: The threshold that bands are chosen for. None: the step's own, rounded down to
    #: tenths and at most 0.8, so that it may be raised without hashing again.
    bands_for: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _code_or_punctuation(self) -> SketchConfig:
        if {"code", "punctuation"} <= set(self.normalise):
            raise ValueError(
                "normalise: code keeps the signs that punctuation drops; name one"
            )
        return self

    @model_validator(mode="after")
    def _bands_fit(self) -> SketchConfig:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("give both bands and rows, or neither")
        if self.bands is not None and self.rows is not None:
            if self.bands * self.rows > self.num_perm:
                raise ValueError(
                    f"{self.bands} bands of {self.rows} rows need num_perm of at least "
                    f"{self.bands * self.rows}"
                )
            if self.weights is not None:
                raise ValueError("give bands and rows, or weights, not both")
        if self.weights is not None and sum(self.weights) != 1.0:
            raise ValueError("weights have to sum to 1")
        return self


class MinhashConfig(SketchConfig):
    """Near-duplicate text by MinHash; every removal is verified by exact Jaccard."""

    #: Input column of strings, or of lists (`unit: element`). None: the text column.
    column: str | None = None
    #: Exact Jaccard similarity from which two texts are duplicates.
    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    #: Without it, whatever shares a band counts as a duplicate.
    verify: bool = True
    #: representatives: a dropped row is within the threshold of the row kept for it;
    #: components: chains of such pairs go together.
    mode: Literal["representatives", "components"] = "representatives"
    #: Which row stays: the smallest uid, the longest text (`length`), or the smallest
    #: value of an input column; ties by uid, rows without a value last.
    keeper: str = "uid"
    #: Whether the largest value of a keeper column stays instead.
    keeper_descending: bool = False
    #: Texts of fewer distinct shingles are kept and compared with nothing.
    min_shingles: Positive = 1
    #: Input column of strings that the guard counts by. None: the pool is one source.
    source: str | None = None
    #: A cluster that takes a larger share of a source stops the run …
    max_share: Fraction = 0.2
    #: … if it takes at least so many rows.
    guard_from: Positive = 100
    #: Whether the run goes on all the same.
    allow_large_clusters: bool = False
    #: Folder of an index: what is near one of its texts is dropped.
    index: MaybeFile = None

    @model_validator(mode="after")
    def _keeper_order(self) -> MinhashConfig:
        if self.keeper_descending and self.keeper in ("uid", "length"):
            raise ValueError("keeper_descending goes with a keeper column")
        return self


class EmbedConfig(StepConfig):
    """Vectors from the recipe's model, or ready-made ones in its place."""

    #: What is embedded.
    modalities: tuple[Modality, ...] = ("image", "text")
    #: Input columns that hold ready-made vectors (lists of numbers).
    image_column: str | None = None
    #: Of texts; see image_column.
    text_column: str | None = None
    #: Folder in clip-retrieval's layout (img_emb/, text_emb/, metadata/).
    clip_retrieval: MaybeFile = None
    #: Column of that layout's metadata that names the sample.
    clip_retrieval_uid: str = "uid"
    #: Folder of .npz files named as the shards, with a row for each row of a shard, as
    #: DataComp's metadata has them; and the arrays in them.
    npz: MaybeFile = None
    #: Array of image vectors.
    npz_image: str = "l14_img"
    #: Array of text vectors.
    npz_text: str = "l14_txt"

    @model_validator(mode="after")
    def _one_source(self) -> EmbedConfig:
        if not self.modalities:
            raise ValueError("modalities: name image, text or both")
        columns = {"image": self.image_column, "text": self.text_column}
        given = {name for name, column in columns.items() if column}
        if bool(given) + bool(self.clip_retrieval) + bool(self.npz) > 1:
            raise ValueError("give vector columns, clip_retrieval or npz, one of them")
        if given and given != set(self.modalities):
            lacking = sorted(given ^ set(self.modalities))
            raise ValueError(
                f"{lacking[0]}: vectors come from columns for all modalities or none; "
                "set modalities to match image_column and text_column"
            )
        return self

    @property
    def ready_made(self) -> bool:
        """Whether the vectors exist already."""
        columns = self.image_column or self.text_column
        return bool(columns or self.clip_retrieval or self.npz)


class ClusterConfig(StepConfig):
    """Spherical k-means with FAISS."""

    #: Number of clusters; 'auto' is the rounded square root of the rows.
    k: Positive | Literal["auto"] = "auto"
    #: Whose vectors are clustered.
    modality: Modality = "image"
    #: Rounds of k-means. The first three fifths use a quarter of the training rows
    #: where these are at least 128 for each centroid.
    iterations: Positive = 20
    #: Rows to train on, drawn by uid hash; 'auto' is 256 for each cluster.
    train_rows: Positive | Literal["auto"] = "auto"


class SemanticConfig(StepConfig):
    """SemDeDup: drop what is within epsilon of an earlier row."""

    #: Which rows are compared: those of the whole pool, or of a cluster (the paper's).
    scope: Literal["pool", "cluster"] = "pool"
    #: Rows whose cosine is above 1 - epsilon are duplicates.
    epsilon: Annotated[float, Field(ge=0.0, le=2.0)] = 0.05
    #: greedy: a row goes for a kept one alone; reference: also for one that went
    #: itself, as the paper's code; components: chains go together.
    semantics: Literal["greedy", "reference", "components"] = "greedy"
    #: Which of two duplicates stays: the one farthest from the centroid (hard), the
    #: nearest (easy), or one drawn by uid hash (random).
    order: Literal["hard", "easy", "random"] = "hard"
    #: Which of two duplicates stays instead: input columns or pixels, bytes, sharpness,
    #: alignment, each with asc or desc. Empty: by `order`.
    keeper: Keeper = ()
    #: Whose vectors are compared.
    modality: Modality = "image"
    #: Folder of an index of vectors: what is within epsilon of one of its rows is
    #: dropped first. Needs greedy semantics over the pool.
    index: MaybeFile = None

    @model_validator(mode="after")
    def _index_of_kept_rows(self) -> SemanticConfig:
        if self.index and (self.semantics != "greedy" or self.scope != "pool"):
            raise ValueError(
                "index: it holds rows that were kept, which decides under semantics: "
                "greedy and scope: pool alone"
            )
        return self


class Balance(StepConfig):
    """What every cluster keeps of the budget, whatever its rows are worth.

    #: How much of its part a cluster keeps whatever its rows are worth, 0 to 1.
    share: how much of its part, 0 to 1. of: what its part is: by its `size`, what it
    would keep if all clusters were pruned alike; `equal`, the same for every cluster.
    """

    share: Fraction
    #: A cluster's part: by its size, what it would keep if all were pruned alike;
    #: equal, the same for every cluster.
    of: Literal["size", "equal"]

    @model_validator(mode="before")
    @classmethod
    def _not_a_number(cls, given: Any) -> Any:
        if isinstance(given, int | float):
            raise ValueError(
                f"write {{share: {given}, of: size}} (of what the cluster would keep "
                f"if all were pruned alike) or {{share: {given}, of: equal}} (of an "
                "equal part of the budget)"
            )
        return given


class BalanceBySize(Balance):
    """As Sorscher et al. 2022 keep classes in balance."""

    share: Fraction = 0.5
    of: Literal["size", "equal"] = "size"


class BalanceOfEqualParts(Balance):
    """As the released code of Abbas et al. 2024; its own default is a share of 0.5."""

    share: Fraction = 0.0
    of: Literal["size", "equal"] = "equal"


class PrototypesConfig(RequiredBudget):
    """Self-supervised prototypes: prune by the distance to the nearest centroid."""

    #: Which rows stay: those far from their centroid (hard), or near (easy).
    keep: Literal["hard", "easy"] = "hard"
    #: What every cluster keeps whatever its distances.
    balance: BalanceBySize = BalanceBySize()


class ComplexityConfig(RequiredBudget):
    """Density-based pruning: a budget spread over clusters by their complexity."""

    #: τ of the softmax over complexities; the paper's best, the released code has 0.5.
    temperature: Annotated[float, Field(gt=0.0)] = 0.1
    #: What every cluster keeps whatever its complexity; the released code has
    #: {share: 0.5, of: equal}, the paper reports results with 0.
    balance: BalanceOfEqualParts = BalanceOfEqualParts()
    #: Nearest other centroids that d_inter averages over; 'auto' is 20 or k − 1.
    neighbours: Positive | Literal["auto"] = "auto"
    #: Which rows of a cluster stay: far from the centroid, near, or by uid hash.
    keep: Literal["hard", "easy", "random"] = "hard"


class RandomConfig(RequiredBudget):
    """Control: rows drawn by uid hash."""


class UniformConfig(RequiredBudget):
    """Control: rows of every cluster alike, drawn by uid hash."""

    #: What is equal over clusters: the number of rows kept, or the share of them.
    equal: Literal["number", "share"] = "number"


class CustomConfig(TiedBudget):
    """A scorer or a decision of the user's own."""

    #: `package.module:function` over an Arrow batch.
    function: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    #: Input columns that the function gets besides uid.
    columns: tuple[str, ...] = ()
    #: What it gets of the steps before: columns image_vector and text_vector (unit
    #: float16), cluster and distance; centroids, (k, dim), as an argument of that name.
    artifacts: tuple[
        Literal["image_vectors", "text_vectors", "clusters", "centroids"], ...
    ] = ()
    #: Least score kept (most, with keep_high: false).
    threshold: float | None = None
    #: Whether high scores are kept.
    keep_high: bool = True


class ApplyConfig(StepConfig):
    """Write what survived."""

    #: Most rows of a shard in `kept/`.
    shard_rows: Positive = 100_000
    #: Most MB of a shard in `kept/`.
    shard_mb: Positive = 512
