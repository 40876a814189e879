"""Examples that each command's `--help` ends with.

May import: nothing.
"""

from __future__ import annotations

#: Lines by command, without the word `winnow`.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "analyze": (
        "analyze photos/",
        "analyze 'shards/*.parquet' --model ViT-B-32 --sample 50000",
        "analyze corpus.jsonl --set input.columns.text=body --json",
    ),
    "run": (
        "run image_text --set input.path=/data/pool --out runs/first",
        "run runs/first/config.lock.yaml --set score.keep_fraction=0.5 --out runs/half",
    ),
    "plan": ("plan recipes/image_text.yaml --set input.path=/data/pool",),
    "submit": (
        "submit recipe.yaml --master yarn --dry-run",
        "submit recipe.yaml --master local[4] --out runs/spark",
    ),
    "schema": ("schema semantic", "schema --json-schema"),
    "steps": ("steps runs/first",),
    "explain": (
        "explain runs/first 139e4a9b22a614771f06c700a8ebe150",
        "explain runs/lake slice.parquet whole.parquet",
    ),
    "query": (
        "query runs/first",
        "query runs/first --named largest-duplicate-groups",
        'query runs/first "SELECT fate, count(*) FROM fates GROUP BY ALL" --format csv',
    ),
    "search": (
        "search runs/first --text 'a red car' --where 'width > 200'",
        "search runs/first --image photo.jpg --all --k 50",
        "search runs/first --like 139e4a9b22a614771f06c700a8ebe150",
    ),
    "what-if": (
        "what-if runs/first --set semantic.epsilon=0.1",
        "what-if runs/first --set score.keep_fraction=0.7 --examples 3",
    ),
    "diff": (
        "diff runs/first runs/second",
        "diff runs/first runs/second --html diff.html --examples 20",
    ),
    "prove": (
        "prove runs/first --held-out clean_pairs --out proved",
        "prove runs/a runs/b --held-out runs/held_out --seeds 5",
        "prove runs/labelled --held-out test_set --label category --probe",
    ),
    "tune": (
        "tune runs/first --budget .3 --held-out clean_pairs --out tuned "
        "--over semantic.epsilon=.03,.05,.1",
    ),
    "budget": (
        "budget runs/scored --held-out clean_pairs --samples-seen 100000 1000000",
    ),
    "weigh": (
        "weigh runs/mixed --held-out clean_pairs --out weighed",
        "weigh runs/scored --held-out runs/held_out --step score --seeds 5 --json",
    ),
    "export": (
        "export runs/first --to webdataset --out /data/train",
        "export runs/first --to uids --out kept.txt",
    ),
    "index build": (
        "index build runs/corpus --out corpus.index",
        "index build runs/first --vectors image --out pictures.index",
    ),
    "index add": (
        "index add corpus.index 2026-05.jsonl",
        "index add corpus.index 'new/*.parquet' --column body --uid id",
    ),
    "index remove": (
        "index remove corpus.index --uid doc-17 --uid doc-18",
        "index remove corpus.index --uids gone.txt",
    ),
    "index show": ("index show corpus.index",),
    "index compact": ("index compact corpus.index",),
    "index check": ("index check corpus.index",),
    "index repair": ("index repair corpus.index",),
    "near": (
        "near corpus.index --text 'the quick brown fox' --min-jaccard 0.5",
        "near corpus.index --uid doc-17 --k 3",
        "near pictures.index --image photo.jpg",
    ),
    "duplicates": ("duplicates runs/corpus --top 20",),
    "communities": ("communities corpus.index --seeds seeds.txt --size 100",),
    "lake scan": (
        "lake scan /data/lake --out runs/lake",
        "lake scan /data/lake --out runs/lake --set 'ignore_columns=[rownames]'",
    ),
    "lake edges": ("lake edges runs/lake --relation duplicate contained",),
    "lake explain": ("lake explain runs/lake slice.parquet whole.parquet",),
    "lake plan": ("lake plan runs/lake --set plan.accesses=10",),
    "lake apply": ("lake apply runs/lake --dry-run", "lake apply runs/lake"),
    "lake restore": ("lake restore runs/lake", "lake restore runs/lake slice.parquet"),
    "report": ("report runs/first --out first.html",),
    "filter train": ("filter train filter_photos --set output.path=filters/mine",),
    "filter purity": (
        "filter purity recipes/filter_train.yaml --levels 1,.5,.25 --seeds 3",
    ),
    "filter eval": (
        "filter eval local-dir:filters/mine held_out --train trusted --by category",
        "filter eval ViT-B-32@openai photos clipart --out judged",
    ),
    "filter compare": (
        "filter compare local-dir:filters/mine ViT-B-32@openai --pool /data/pool "
        "--budget .3 --out compared",
    ),
    "map": ("map runs/first", "map runs/first --sample 20000 --seed 1"),
    "ui": ("ui runs/first", "ui runs/first --beside runs/second --no-browser"),
    "mcp": ("mcp --root runs",),
    "completion": ("completion bash > ~/.local/share/bash-completion/winnow",),
    "init": ("init recipes",),
    "demo": ("demo", "demo --rows 400 --seed 1 --out small-demo"),
}


def epilog(command: str) -> str:
    """Return what a command's help ends with."""
    lines = (f"  winnow {line}" for line in EXAMPLES.get(command, ()))
    return "\n".join(["examples:", *lines])
