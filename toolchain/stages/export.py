"""export: both models as bundles, held to torch's answers and scored on the test split. Leaves ``bundles/``."""

from __future__ import annotations

from deploy.progress import Progress
from toolchain.export import Frames, from_model, write_bundle
from toolchain.models import load_model
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import MODELS, Run


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """A bundle a model, and ``confusion.json`` beside them; a file that computes something else fails the run."""
    table = run.recipe.export
    frames = Frames(
        train=run.split("train"),
        validation=run.split("validation"),
        test=run.split("test"),
        calibration=table.calibration_frames,
        reference=table.parity_frames,
        seed=run.seed,
    )
    confusions, worst = {}, 0.0
    for name in MODELS:
        model, card = load_model(run.path / f"{name}.safetensors", trusted=run.recipe.model.name)
        bundle = out.path / "bundles" / name
        bundle.mkdir(parents=True)
        scored = write_bundle(
            bundle,
            from_model(model, card),
            frames,
            table.precisions,
            most_drop=table.most_drop,
            sensitivity_level=table.sensitivity_level,
            threads=run.recipe.run.threads,
            progress=_of_both(progress, name),
        )
        confusions[name] = scored.confusion["fp32"]
        parity = scored.manifest.precisions["fp32"].parity
        assert parity is not None  # write_bundle measures it
        worst = max(worst, parity.max_abs_diff)
    write_json(out.path / "bundles" / "confusion.json", confusions)
    return f"bundles/original, bundles/pruned; fp32 logits within {worst:.1e} of torch's"


def _of_both(progress: Progress, name: str) -> Progress:
    """The progress of one model's bundle, as a part of the stage's."""
    before = MODELS.index(name)
    return lambda done, total, note="": progress(before * total + done, len(MODELS) * total, f"{name}: {note}")
