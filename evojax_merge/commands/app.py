"""The commands with their arguments and options, as a terminal shows them.

Nothing heavy is imported here, so that help and completion come at once. Each command hands its
options over to the function ``run`` of the module of its name.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from evojax_merge import __version__
from evojax_merge.commands.completion import complete_override
from evojax_merge.documents.bundled import conf_directory

app = typer.Typer(
    name="evojax-merge",
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=f"KEY=VALUE chooses and changes configuration. All keys are in conf/config.yaml and "
    f"its groups in {conf_directory()}",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Choose and change configuration: operator=ties seed=1 search.evaluations=500 "
        "+experiment=NAME",
        autocompletion=complete_override,
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option("--config-dir", "-cd", metavar="DIR", help="A directory of further options."),
]
GpuEach = Annotated[
    bool,
    typer.Option("--gpu-each", help="Give each process that runs jobs of a sweep its own GPU."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Use checkpoints, or code of your own, that changed since.")
]
TrustOperator = Annotated[
    bool,
    typer.Option(
        "--trust-operator",
        "--trust-config",
        help="Import and run what a recipe or a run names from outside this package.",
    ),
]
TrustConfig = Annotated[
    bool,
    typer.Option(
        "--trust-config",
        help="Import and run what the run's configuration names from outside this package.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"evojax-merge {__version__}")
        raise typer.Exit


@app.callback()
def evojax_merge(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Show the version."),
    ] = False,
) -> None:
    """Evolve the merge of open models on the accelerator."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def evolve(
    context: typer.Context,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    multirun: Annotated[
        bool,
        typer.Option("--multirun", "-m", help="Sweep values that are separated by commas."),
    ] = False,
    gpu_each: GpuEach = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Read everything, measure one candidate, and say what the run would take.",
        ),
    ] = False,
) -> None:
    """Search for the best merge of some models.

    Flags of Hydra's go with it: --cfg job prints the configuration and ends.
    """
    words = [*(overrides or []), *context.args]
    _hand_over(
        context,
        words=words,
        config_dir=config_dir,
        multirun=multirun,
        gpu_each=gpu_each,
        dry_run=dry_run,
    )


@app.command()
def plan(
    context: typer.Context,
    overrides: Overrides = None,
    topology: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="local, or a machine that need not be there: v5e:4x4, v6e:2x2, v5p:2x2x4, "
            "tpu7x:2x2x1, a100:8, h100:8, h200:1, b200:8.",
        ),
    ] = "local",
    config_dir: ConfigDir = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the plan there, too.")
    ] = None,
    items: Annotated[
        int, typer.Option(min=1, help="How many items are assumed without fitness.data.")
    ] = 128,
    prompt_tokens: Annotated[
        int,
        typer.Option(min=1, help="How long prompts are assumed to be without data or tokenizer."),
    ] = 256,
    answer_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="How long answers are; by default, as long as they may be."),
    ] = None,
) -> None:
    """Say whether that search fits on a machine, and how long it takes at least.

    Neither the machine nor the weights need be there.
    """
    _hand_over(
        context,
        overrides=overrides or [],
        topology=topology,
        config_dir=config_dir,
        json_file=json,
        items=items,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
    )


@app.command()
def resume(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="RUN|SWEEP", help="The directory of a run or of a sweep.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="search.evaluations=N for a larger budget, and what else may change; "
            "distributed.KEY=VALUE for the processes that go on together; of a sweep also "
            "hydra/launcher=NAME and hydra.launcher.KEY=VALUE",
        ),
    ] = None,
    gpu_each: GpuEach = False,
    trust_config: TrustConfig = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on though code of your own has changed since."),
    ] = False,
) -> None:
    """Continue a run, or all jobs of a sweep, after any interruption, or with a larger budget."""
    _hand_over(
        context,
        directory=directory,
        overrides=overrides or [],
        gpu_each=gpu_each,
        trust_config=trust_config,
        force=force,
    )


@app.command()
def show(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="RUN|SWEEP", help="The directory of a run or of a sweep.")
    ],
) -> None:
    """Say how a run or a sweep stands, while it goes on too: time left, best merge so far.

    It reads alone, and needs neither the models nor an accelerator.
    """
    _hand_over(context, directory=directory)


@app.command()
def report(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="RUN|SWEEP", help="The directory of a run or of a sweep.")
    ],
) -> None:
    """Make the report.html of a run or of a sweep again, also while it goes on."""
    _hand_over(context, directory=directory)


@app.command()
def apply(
    context: typer.Context,
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="recipe.yaml, YAML of mergekit, or a run.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The directory of the checkpoint, or NAME.safetensors for a pipeline of Stable "
            "Diffusion in one file.",
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Of a run with a front: knee, an index, or weights such as math=0.7,ja=0.3.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="PROMPTS",
            help="Draw the prompts of a text file, one a line, or of JSON Lines, and export "
            "nothing.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in DIR.")] = False,
    trust_operator: TrustOperator = False,
    force: Force = False,
    seed: Annotated[
        int | None, typer.Option(help="Of random masks, for a YAML of mergekit.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what a YAML of mergekit is warned of.")
    ] = False,
) -> None:
    """Build the checkpoint that a recipe, or a YAML of mergekit, describes."""
    if out is None and images is None:
        raise typer.BadParameter("give --out for a checkpoint, or --images for pictures")
    _hand_over(
        context,
        recipe=recipe,
        out=out,
        select=select,
        images=images,
        overwrite=overwrite,
        trust_operator=trust_operator,
        force=force,
        seed=seed,
        strict=strict,
    )


@app.command()
def convert(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe.yaml, or a run.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.yml", help="The file to write.")],
) -> None:
    """Write a recipe as a YAML of mergekit."""
    _hand_over(context, recipe=recipe, out=out)


@app.command()
def evaluate(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|RUN|KEY=VALUE",
            help="Directories, single files, hub ids, a recipe.yaml each, or runs, whose winners "
            "are measured; then the task, by default that of the first run.",
            autocompletion=complete_override,
        ),
    ],
    config_dir: ConfigDir = None,
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="search, validation or test.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="Compute in this dtype.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep the results there, item by item."),
    ] = None,
    force: Force = False,
    trust_operator: TrustOperator = False,
) -> None:
    """Measure checkpoints or recipes, and compare them with the first one, item by item."""
    overrides = [word for word in words if _is_override(word)]
    _hand_over(
        context,
        models=[word for word in words if word not in overrides],
        overrides=overrides,
        config_dir=config_dir,
        split=split,
        dtype=dtype,
        out=out,
        force=force,
        trust=trust_operator,
    )


@app.command()
def push(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="EXPORT|RUN", help="The directory of an export, or of a run.")
    ],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository a private one.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="The branch; by default, the main one.")
    ] = None,
    message: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The message of the commit.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at the files and list them, no more.")
    ] = False,
) -> None:
    """Upload an export, with its model card, to the Hugging Face hub.

    The token is that of HF_TOKEN, or of hf auth login.
    """
    _hand_over(
        context,
        directory=directory,
        repository=repository,
        private=private,
        revision=revision,
        message=message,
        dry_run=dry_run,
    )


COMMANDS = tuple(one.callback.__name__ for one in app.registered_commands if one.callback)
"""The names of the commands."""


def _is_override(word: str) -> bool:
    """Whether a word changes configuration, and is no path that holds an equals sign."""
    changes = re.match(r"~|[+]*[\w./@]+=", word) is not None
    return changes and not Path(word).exists()


def _hand_over(context: typer.Context, **options: Any) -> None:
    """Have the command's module do what was asked for.

    The program puts a function into the context, which is called with the command's name.
    """
    context.obj(context.info_name, **options)
