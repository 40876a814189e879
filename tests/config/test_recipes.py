"""Recipes are read strictly: a slip is an error that names the nearest valid key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from winnow.config import filter_train, recipes
from winnow.config.lock_file import lock_text
from winnow.config.run import RunConfig, kind_of, parse
from winnow.core.errors import ConfigError


def minimal(**sections: Any) -> dict[str, Any]:
    return {"input": {"path": "data"}, "steps": ["exact", "apply"], **sections}


def load(tmp_path: Path, text: str, *overrides: str) -> RunConfig:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return recipes.load(file, overrides)


MINIMAL = "input: {path: data}\nsteps: [exact, apply]\n"


@pytest.mark.parametrize(
    ("sections", "wrong", "right"),
    [
        ({"inputs": {}}, "inputs", "input"),
        ({"semantik": {}}, "semantik", "semantic"),
        ({"exact": {"bye": ["caption"]}}, "exact.bye", "by"),
        ({"input": {"path": "d", "colums": {}}}, "input.colums", "columns"),
        (
            {"input": {"path": "d", "columns": {"imag": "x"}}},
            "input.columns.imag",
            "image",
        ),
        ({"model": {"pre_trained": "x"}}, "model.pre_trained", "pretrained"),
        ({"engine": {"nam": "local"}}, "engine.nam", "name"),
        ({"output": {"paht": "x"}}, "output.paht", "path"),
        (
            {"steps": ["score"], "score": {"threshold": 0, "model": {"nme": "x"}}},
            "score.model.nme",
            "name",
        ),
        ({"apply": {"shard_row": 3}}, "apply.shard_row", "shard_rows"),
        ({"sections": {}}, "sections", "semantic"),
    ],
)
def test_an_unknown_key_names_itself_and_the_nearest(
    sections: dict[str, Any], wrong: str, right: str
):
    with pytest.raises(ConfigError) as error:
        parse(minimal(**sections))
    assert f"unknown key '{wrong}'" in str(error.value)
    assert right in str(error.value)


def test_a_section_of_a_step_that_does_not_run_is_checked_too():
    with pytest.raises(ConfigError, match=r"semantic\.epsilom.*epsilon"):
        parse(minimal(semantic={"epsilom": 0.1}))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["exakt"], "unknown step 'exakt'; did you mean 'exact'"),
        ([], "give a list of steps"),
        (None, "give a list of steps"),
        ("exact", "give a list of steps"),
        (["cluster_2"], "'cluster_2' is number 1"),
        (["cluster", "cluster_3"], "'cluster_3' is number 2"),
        ([3], "unknown step '3'"),
        ([["exact"]], "unknown step"),
    ],
)
def test_wrong_lists_of_steps(steps: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        parse(minimal(steps=steps))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"random": {}, "steps": ["random"]}, "keep_fraction .* or keep_count"),
        ({"random": {"keep_fraction": 0.5, "keep_count": 3}}, "not both"),
        ({"random": {"keep_fraction": 1.5}}, "random.keep_fraction: .* 1.5"),
        ({"random": {"keep_fraction": float("nan")}}, "random.keep_fraction"),
        ({"random": {"keep_count": -1}}, "random.keep_count"),
        ({"score": {}}, "threshold"),
        ({"exact": {"by": []}}, "by: name image_bytes"),
        ({"exact": {"by": ["pixels"]}}, "exact.by"),
        ({"exact": 3}, "exact: give a section"),
        ({"cluster": {"k": 0}}, "cluster.k"),
        ({"cluster": {"k": "some"}}, "cluster.k"),
        ({"semantic": {"epsilon": -0.1}}, "semantic.epsilon"),
        ({"semantic": {"semantics": "gready"}}, "greedy"),
        ({"seed": -1}, "seed"),
        ({"input": {}}, "input.path: is required"),
        ({"input": {"path": []}}, "input.path"),
        ({"input": None}, "input"),
        ({"input": "data"}, "input"),
        ({"engine": {"name": "sparc"}}, "engine.name"),
        ({"rules": {"width_column": "w"}}, "both width_column and height_column"),
        ({"custom": {"function": "no colon"}}, "custom.function"),
        ({"embed": {"image_column": "v"}}, "text"),
        (
            {"embed": {"image_column": "v", "text_column": "t", "clip_retrieval": "x"}},
            "one of them",
        ),
        ({"embed": {"modalities": []}}, "modalities"),
        ({1: {}}, "unknown key '1'"),
        ({True: {}}, "unknown key 'True'"),
    ],
)
def test_wrong_values_name_their_key(sections: dict[Any, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse({**minimal(), **sections})


def test_a_missing_input_is_required():
    with pytest.raises(ConfigError, match="input: is required"):
        parse({"steps": ["exact"]})


def test_all_faults_of_a_section_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        parse(minimal(cluster={"k": 0, "iterations": 0}))
    assert "cluster.k" in str(error.value)
    assert "cluster.iterations" in str(error.value)


def test_repeated_steps_are_numbered_and_share_the_first_ones_section():
    config = parse(
        minimal(
            steps=["cluster", "exact", "cluster", "cluster_3"],
            cluster={"k": 7},
            cluster_3={"k": 9},
        )
    )
    assert config.steps == ("cluster", "exact", "cluster_2", "cluster_3")
    assert [config.section(s).k for s in ("cluster", "cluster_2", "cluster_3")] == [
        7,
        7,
        9,
    ]


@pytest.mark.parametrize(
    ("step", "kind"),
    [("cluster", "cluster"), ("cluster_2", "cluster"), ("cluster_12", "cluster")],
)
def test_kind_of_a_step(step: str, kind: str):
    assert kind_of(step) == kind


@pytest.mark.parametrize("step", ["cluster_1", "cluster_0", "cluster_02", "a_b"])
def test_other_endings_are_no_numbers(step: str):
    assert kind_of(step) == step


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MINIMAL + "seed: 1\nseed: 2\n", 4),
        (MINIMAL + "exact:\n  by: [caption]\n  by: [image_bytes]\n", 5),
    ],
)
def test_a_key_written_twice_is_an_error_with_its_line(
    tmp_path: Path, text: str, line: int
):
    with pytest.raises(ConfigError, match=rf"recipe\.yaml: line {line}: .* twice"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["a: [", "- a\n- b\n", "", "just words", "? [a]\n: 1\n", "a: !!python/x 1"]
)
def test_what_is_no_recipe_names_the_file(tmp_path: Path, text: str):
    with pytest.raises(ConfigError, match=r"recipe\.yaml"):
        load(tmp_path, text)


def test_bytes_that_are_no_text_name_the_file(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"recipe\.yaml"):
        recipes.load(tmp_path / "recipe.yaml")


def test_anchors_and_merges_are_understood(tmp_path: Path):
    text = MINIMAL + (
        "random: &half {keep_fraction: 0.5}\nuniform:\n  <<: *half\n  of: pool\n"
    )
    config = load(tmp_path, text, "steps=[random]", "random.of=pool")
    assert config.section("random").keep_fraction == 0.5


def test_set_changes_adds_and_parses_yaml(tmp_path: Path):
    config = load(
        tmp_path,
        MINIMAL,
        "input.path=[a, b]",
        "input.columns.uid=null",
        "exact.by=[caption]",
        "seed=7",
        "output.path=x=y",
        "steps=[exact, random, apply]",
        "random.keep_fraction=1e-1",
    )
    assert config.input.path == ("a", "b")
    assert config.input.columns.uid is None
    assert config.section("exact").by == ("caption",)
    assert config.seed == 7
    assert config.output.path == "x=y"
    assert config.section("random").keep_fraction == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write section.key=value"),
        ("=3", "write section.key=value"),
        ("seed.deep=3", "'seed' is not a section"),
        ("sed=3", "unknown key 'sed'; did you mean 'seed'"),
        ("exact.buy=3", r"exact\.buy"),
        ("exact.by=[", "not valid YAML"),
        ("exact.by={a: 1, a: 2}", "twice"),
    ],
)
def test_a_wrong_set_says_how(tmp_path: Path, override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, MINIMAL + "seed: 1\n", override)


def test_out_replaces_the_path_and_keeps_the_rest(tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text(MINIMAL + "output:\n")
    assert recipes.load(file, (), "elsewhere").output.path == "elsewhere"


SHIPPED = recipes.shipped()
LOADERS: dict[str, Callable[..., Any]] = {
    "image_text": recipes.load,
    "table_lake": recipes.load_lake,
    "filter_train": filter_train.load,
}


def loader(recipe: Path) -> Callable[..., Any]:
    return LOADERS[recipes.flow_of(recipes.read(recipe))]


def test_the_promised_recipes_are_shipped():
    assert {
        "image_text",
        "dbp",
        "prototypes",
        "dfn",
        "table_lake",
        "filter_train",
    } <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_valid_and_found_by_name(name: str):
    config = loader(SHIPPED[name])(name)
    if isinstance(config, RunConfig):
        assert config.steps[-1] == "apply"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_lock_of_a_recipe_gives_the_same_recipe(tmp_path: Path, name: str):
    load = loader(SHIPPED[name])
    config = load(name)
    lock = tmp_path / "config.lock.yaml"
    lock.write_text(recipes.dump(config))
    assert load(lock) == config
    assert recipes.dump(load(lock)) == recipes.dump(config)


def test_a_recipe_of_another_flow_names_its_command():
    with pytest.raises(ConfigError, match="is a recipe for `winnow lake scan`"):
        recipes.load("table_lake")
    with pytest.raises(ConfigError, match="is a recipe for `winnow run`"):
        recipes.load_lake("image_text")


def test_an_unknown_key_of_a_lake_names_the_nearest():
    override = ["plan.storage_per_tb=20"]
    with pytest.raises(ConfigError, match="did you mean 'storage_per_gb'"):
        recipes.load_lake("table_lake", override)


def test_every_default_stands_in_the_lock():
    plain = yaml.safe_load(recipes.dump(parse(minimal(steps=["semantic"]))))
    assert plain["semantic"]["semantics"] == "greedy"
    assert plain["input"]["columns"] == {"uid": "uid", "image": "image", "text": "text"}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no recipe 'image_txt'; .*'image_text'"):
        recipes.load("image_txt")


def test_a_local_folder_drops_the_tag_of_the_recipe():
    config = recipes.load("image_text", ["model.name=local-dir:/models/x"])
    assert config.model.pretrained is None
    assert recipes.load("image_text").model.pretrained is not None


def test_copies_never_replace_a_file(tmp_path: Path):
    copies = recipes.copy_shipped(tmp_path / "mine")
    engines = {copy.stem for copy in copies if copy.parent.name == "engine"}
    assert engines == {"local", "spark"}
    copies = [copy for copy in copies if copy.parent.name != "engine"]
    names = [copy.relative_to(tmp_path / "mine").with_suffix("") for copy in copies]
    assert {name.as_posix() for name in names} == set(SHIPPED)
    assert all(loader(copy)(copy) for copy in copies)
    copies[0].write_text("edited")
    with pytest.raises(ConfigError, match="exists; choose another folder"):
        recipes.copy_shipped(tmp_path / "mine")
    assert copies[0].read_text() == "edited"


def test_a_lock_file_names_every_file_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    target = {"method": "norm_sim", "target": "target.npy"}
    sections: dict[str, dict[str, Any]] = {
        "embed": {"npz": "metadata"},
        "minhash": {"index": "texts.index"},
        "semantic": {"index": "rows.index"},
        "score": {
            "terms": [target, {"method": "head", "weights": "~/h.safetensors"}],
            "threshold": 0.5,
        },
        "decontaminate": {"against": ["test.parquet", {"path": "s3://b/eval"}]},
        "overlap": {"against": ["bench.jsonl"]},
        "synsets": {"wordnet": "dict", "synsets": "wanted.txt"},
        "balance": {"concepts": "concepts.txt", "limit": 5},
        "balance_2": {"concepts": "clusters", "limit": 5},
    }
    cluster = ["embed", "cluster"]
    steps = [*cluster, *(step for step in sections if step not in cluster)]
    given = {"input": {"path": "pool"}, "steps": steps, **sections}
    values = yaml.safe_load(lock_text(parse(given)))

    assert values["embed"]["npz"] == str(tmp_path / "metadata")
    assert values["minhash"]["index"] == str(tmp_path / "texts.index")
    assert values["semantic"]["index"] == str(tmp_path / "rows.index")
    one, other = values["score"]["terms"]
    assert one["target"]["path"] == str(tmp_path / "target.npy")
    assert other["weights"] == "~/h.safetensors"
    against = [one["path"] for one in values["decontaminate"]["against"]]
    assert against == [str(tmp_path / "test.parquet"), "s3://b/eval"]
    assert values["overlap"]["against"][0]["path"] == str(tmp_path / "bench.jsonl")
    assert values["synsets"]["wordnet"] == str(tmp_path / "dict")
    assert values["synsets"]["synsets"] == str(tmp_path / "wanted.txt")
    assert values["balance"]["concepts"] == str(tmp_path / "concepts.txt")
    assert values["balance_2"]["concepts"] == "clusters"
    again = yaml.safe_load(lock_text(parse(yaml.safe_load(lock_text(parse(given))))))
    assert again == values


def test_a_lock_file_names_its_input_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    model = {"name": "local-dir:lite"}
    given = {
        "input": {"path": ["pool", "s3://b/p"]},
        "model": model,
        "steps": ["exact"],
    }
    values = yaml.safe_load(lock_text(parse({**given, "overrides": "marks.csv"})))
    assert values["input"]["path"] == [str(tmp_path / "pool"), "s3://b/p"]
    assert values["model"]["name"] == f"local-dir:{tmp_path / 'lite'}"
    assert values["overrides"] == str(tmp_path / "marks.csv")
