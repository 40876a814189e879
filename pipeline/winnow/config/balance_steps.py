"""The settings of the steps that spread a budget, order a pool, or rank what is odd."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from winnow.config.file_names import NamesFile
from winnow.config.section import Budget, Modality, Positive, RequiredBudget

#: What `concepts` may be besides a file.
NGRAMS, CLUSTERS = "ngrams", "clusters"


class BalanceConfig(Budget):
    """At most so many rows of each concept."""

    #: A file with one concept to a line, looked for in captions; ngrams: those that
    #: many captions of the pool have; clusters: each cluster is a concept.
    concepts: Annotated[
        str, NamesFile(besides=(NGRAMS, CLUSTERS)), Field(min_length=1)
    ] = CLUSTERS
    #: Rows that each concept keeps, those of its lowest hashes of uids; a row stays if
    #: any of its concepts keeps it. With a budget: also not above it.
    limit: Positive | None = None
    #: Whether a concept has to be whole words of the caption, or any part of it.
    whole_words: bool = True
    #: Of ngrams: most words of one.
    ngram: Annotated[int, Field(gt=0, le=5)] = 2
    #: Of ngrams: least captions that have it.
    min_rows: Positive = 20

    @model_validator(mode="after")
    def _some_cut(self) -> BalanceConfig:
        if not self.has_budget and self.limit is None:
            raise ValueError("give limit (rows of a concept), a budget, or both")
        return self


class HierarchyConfig(RequiredBudget):
    """A budget that is spread evenly over clusters of clusters, from the top down."""

    #: How many clusters of clusters each level has, from the lowest to the top.
    levels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (100, 10)
    #: Rounds in which a level is clustered again by its clusters' nearest members.
    resampling: Annotated[int, Field(ge=0)] = 10
    #: Which rows of a cluster stay: drawn by uid hash, nearest the centroid, farthest.
    keep: Literal["random", "easy", "hard"] = "random"

    @model_validator(mode="after")
    def _fewer_above(self) -> HierarchyConfig:
        if list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError("levels: each has fewer clusters than the one below it")
        return self


class OrderConfig(RequiredBudget):
    """A greedy order of the rows of which any budget is a beginning."""

    #: Facility location: the next row is the one that most raises the sum, over all
    #: rows, of the cosine to the nearest row so far. Farthest first: the row that is
    #: farthest from all rows so far.
    by: Literal["facility_location", "farthest_first"] = "facility_location"
    #: Rows that represent one another: those of a cluster, or of the whole pool.
    scope: Literal["cluster", "pool"] = "cluster"
    #: Whose vectors.
    modality: Modality = "image"


class OutliersConfig(Budget):
    """Drop what is least like its nearest neighbours."""

    #: Neighbours whose cosines are averaged.
    k: Positive = 10
    #: Least mean cosine kept.
    threshold: float | None = None
    #: Where neighbours are looked for: in the whole pool, or in the row's cluster;
    #: auto: in pools of up to 20,000 rows among all, above that in clusters.
    scope: Literal["auto", "pool", "cluster"] = "auto"
    #: Whose vectors.
    modality: Modality = "image"

    @model_validator(mode="after")
    def _some_cut(self) -> OutliersConfig:
        if not self.has_budget and self.threshold is None:
            raise ValueError("give keep_fraction, keep_count or threshold (a cosine)")
        return self
