"""``targets``: the profiles of devices; ``targets show``, ``check`` and ``here``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stdout, write_json


class Targets(click.Group):
    """The group, whose ``--json [FILE]`` takes the command behind it for no FILE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments before the command."""
        if args[:1] == ["--json"] and args[1:2] and args[1] in self.commands:
            args = ["--json", "-", *args[1:]]
        return super().parse_args(ctx, args)


@click.group(
    cls=Targets,
    context_settings=CONTEXT,
    invoke_without_command=True,
    epilog="\b\nExamples:\n  thinwave targets\n  thinwave targets show jetson-orin-nano-8gb\n"
    "  thinwave targets check my-board.toml\n  thinwave targets here",
)
@json_option
@click.pass_context
def targets(context: click.Context, json_path: str | None) -> None:
    """List the target profiles, and say which is this machine."""
    if context.invoked_subcommand is not None:
        if json_path:
            raise click.UsageError(f"--json goes behind {context.invoked_subcommand}")
        return
    from deploy.targets import list_targets
    from deploy.targets_table import targets_table, targets_to_json

    profiles = list_targets()
    if json_path:
        write_json(json_path, targets_to_json(profiles))
    if json_path != "-":
        stdout().print(targets_table(profiles))


@targets.command(
    cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave targets show raspberry-pi-5"
)
@click.argument("name", metavar="NAME|FILE")
@json_option
def show(name: str, json_path: str | None) -> None:
    """Show a profile: every figure with its source, how the device is known, and how it is measured."""
    from deploy.targets import load_target
    from deploy.targets_table import figures_table, sentences

    target = load_target(name)
    if json_path:
        write_json(json_path, target.model_dump(mode="json", exclude_none=True))
    if json_path != "-":
        console = stdout()
        console.print(figures_table(target))
        for sentence in sentences(target):
            console.print(sentence)


@targets.command(context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave targets check my-board.toml")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """Read a profile strictly, and tell everything that is wrong with it."""
    from deploy.targets import is_here, load_target

    target = load_target(path)
    here = "it is this machine" if is_here(target) else "it is not this machine"
    stdout().print(f"{path}: holds the profile {target.name}; {here}", soft_wrap=True)


@targets.command(cls=JsonCommand, context_settings=CONTEXT, epilog="\b\nExample:\n  thinwave targets here")
@json_option
def here(json_path: str | None) -> None:
    """Say which profile is of this machine, and by what that is known."""
    from deploy.targets import figures_here, how_known, this_machine

    target = this_machine()
    if json_path:
        known = {"target": target.name, "known_by": how_known(target), "processor": figures_here(target)}
        write_json(json_path, known)
    if json_path != "-":
        stdout().print(f"{target.name}: {target.description}; {how_known(target)}", soft_wrap=True)
