"""The entry point of the command line: `genzoo`, or `python -m genzoo`.

Importing torch and Lightning takes seconds, so help and lists are printed without them. The other
commands are in genzoo/cli.
"""

import os
import sys
from difflib import get_close_matches
from shutil import get_terminal_size

from . import __version__, catalogue
from .arguments import wrapped

HELP = """\
usage: genzoo <command> [options]

Train generative image models and ask them three questions:
memorised? real? as diverse as the data?

  fit        train, evaluate on the way, then test and print the report card
  validate   evaluate a checkpoint on the validation images
  test       evaluate a checkpoint on the test images
  predict    run a model's own predict_step over the test images
  sample     draw images from a checkpoint
  human      ask people which images are real
  compare    put the report cards of several runs side by side
  models     list the models; with a name, all about one
  data       list the data sets; with a name, all about one

  genzoo fit --model DCGAN --data Digits --trainer.max_epochs 100
  genzoo fit --config my.yaml --ckpt_path last          goes on where it was cut off
  genzoo sample --ckpt_path runs/DCGAN-Digits/version_0/checkpoints/last.ckpt --output grid.png
  genzoo sample --ckpt_path last                        of the run that was written last

genzoo <command> --help lists the options of a command. GENZOO_DEBUG=1 shows tracebacks.
"""

OPTIONS = """\
usage: genzoo {command} [options]

  --model DCGAN               one of `genzoo models`, or your own as my_file.Mine
  --model.lr 1e-3             its arguments: `genzoo models DCGAN`
  --data Digits               one of `genzoo data`, or your own
  --data.batch_size 64        its arguments: `genzoo data Digits`
  --data.conditional true     the classes are a condition of the model
  --ckpt_path FILE            a checkpoint; last: the newest of this model and data
  --init_from FILE            a checkpoint whose weights fit starts from, at step 0
  --config FILE               all of this as YAML; what comes later wins
  --print_config              prints it
  --seed_everything 0         of all random numbers

  --trainer.max_epochs 20     or any argument of Lightning's Trainer: max_steps, max_time,
                              devices, strategy, precision, fast_dev_run ...
  --trainer.logger WandbLogger
                              W&B beside the run directory
  --trainer.default_root_dir runs
                              where run directories are made
  --checkpoint.every_n_epochs 1
                              or every_n_train_steps; save_top_k -1 keeps all

  --evaluate false            does not ask the three questions
  --evaluation.num_samples 10000
                              samples that they look at; num_samples_fit during fit,
                              every_n_epochs, extractor, num_real, seed
  --test_after_fit false      ends fit without the report card

genzoo {command} --help all lists every option.
"""

LISTS = {"models": catalogue.models, "data": catalogue.data}
COMMANDS = ("fit", "validate", "test", "predict", "sample", "human", "compare")


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 1 for a failure, 2 for a misuse."""
    # Set before torch starts its threads: waiting threads would otherwise spin, and a small
    # network on cores with other work trained ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if command == "--version":
        print(f"genzoo {__version__}")
        return 0
    if command in LISTS:
        return show(command, *rest)
    if command in ("human", "judge"):  # its earlier name
        from genzoo.cli.human import main as human

        return human(rest)
    if command == "compare":
        from genzoo.cli.compare import main as compare

        return compare(rest)
    if command in COMMANDS[:4] and rest in (["-h"], ["--help"]):
        print(OPTIONS.format(command=command), end="")
        return 0
    if command in COMMANDS:
        from genzoo.cli.fit import run

        return run(command, rest)
    return misuse("command", command, [*COMMANDS, *LISTS])


def show(kind: str, *names: str) -> int:
    """Prints a line for each model or data set, or all about those named."""
    entries, columns = LISTS[kind](), get_terminal_size((100, 24)).columns
    if {"-h", "--help"} & set(names):
        print(f"usage: genzoo {kind} [name ...]")
        return 0
    for name in names:
        entry = next((entry for entry in entries if entry.name == name), None)
        if entry is None:
            return misuse(kind.removesuffix("s"), name, [entry.name for entry in entries])
        print(f"{entry.name}    {entry.path}\n\n{entry.doc}\n\nArguments:")
        for argument in entry.arguments:
            print(f"    {argument}")
            if meaning := entry.meaning(argument):
                print("\n".join(wrapped(meaning, " " * 8, columns)))
    if not names:
        width = max((len(entry.name) for entry in entries), default=0)
        family = ""
        for entry in entries:
            if entry.family != family:
                family = entry.family
                print(family)
            line = f"  {entry.name:{width}}  {entry.summary}"
            print(line if len(line) <= columns else line[: columns - 4].rstrip() + " ...")
    return 0


def misuse(kind: str, name: str, known: list[str]) -> int:
    """Prints that there is no such name, with the nearest known one; returns the exit code 2."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    print(f"genzoo: no {kind} {name!r}.{hint} There are: {', '.join(known)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
