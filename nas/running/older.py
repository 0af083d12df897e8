"""Configurations that run folders of earlier versions hold, as this version reads them."""

import logging

from omegaconf import DictConfig, OmegaConf

from nas.running.parts import link, spell_out

log = logging.getLogger(__name__)
DSO = "nas.spaces.dso.DsoSpace"
ARRAYS = "nas.data.arrays.Arrays"
FOLDER = "nas.data.folder.ImageFolder"
OWN_PICTURES = ("nas.data.own_folder.OwnFolder", "nas.data.own_table.OwnTable")


def read_now(saved: DictConfig, where: str, continued: bool = False) -> DictConfig:
    """Translates values that are gone, in place; what a fresh command types is refused instead.

    Args:
        saved: a run folder's configuration.
        where: the folder, for the notice.
        continued: whether the run goes on, so that what the value meant may yet happen; a notice says how.

    Returns:
        The same configuration.
    """
    if OmegaConf.select(saved, "method.widen") == "independent":
        saved.method.widen = "code"
        if OmegaConf.select(saved, "method.schedule.widen") is not None:
            saved.method.schedule.widen = "code"
        if continued and OmegaConf.select(saved, "method.stages"):
            log.warning(
                "%s: its config.yaml has method.widen=independent, which was neither the authors' code nor "
                "the paper's formula and is gone. Stages that the run has begun keep the channels that they "
                "have; a stage that begins from here on is widened as the authors' code does (code)",
                where,
            )
    if OmegaConf.select(saved, "space._target_") == DSO and "fixed_scales" not in saved.space:
        # A search from before the key: its checkpoint holds scales of reductions and shortcuts, which learn.
        saved.space.fixed_scales = "operations"
    _say_augmentation(saved)
    if OmegaConf.select(saved, "dataset.source._target_") == ARRAYS and "kind" not in saved.dataset.source:
        # All numbers were pixels.
        saved.dataset.source.kind = "pictures"
    source = OmegaConf.select(saved, "dataset.source")
    if isinstance(source, DictConfig) and source.get("_target_") in OWN_PICTURES and "decoding" not in source:
        # Pictures were as they are stored, and their mean and deviation were ImageNet's.
        source.decoding = "plain"
        # In both places, so that whoever goes on from the run may type another value.
        for key, usual in (("normalisation", "imagenet"), ("check", False), ("skip_corrupt", False)):
            source[key] = saved.dataset[key] = usual
    if isinstance(source, DictConfig) and source.get("_target_") in OWN_PICTURES and source.get("mean"):
        # Found anew until runs kept it, while the mean was kept: of a picture in another colour, too many.
        source.channels = source.get("channels") or len(source.mean)
    if isinstance(source, DictConfig) and source.get("_target_") == FOLDER and "check" not in source:
        source.check = saved.dataset.check = False
    # From before methods had parts: words and short keys that stand for them.
    spell_out(saved)
    link(saved)
    return saved


def _say_augmentation(saved: DictConfig) -> None:
    """Of a run from before `dataset.augment` said all of it, when files were always cropped and mirrored."""
    given, source = (OmegaConf.select(saved, f"dataset.{key}") for key in ("augment", "source"))
    if not isinstance(given, DictConfig) or not isinstance(source, DictConfig) or "crop" in given:
        return
    given.crop = given.jitter = None
    if source.get("_target_") == FOLDER:
        given.crop, given.flip, given.jitter = [0.08, 1.0], True, source.get("color_jitter")
        source.crop, source.flip = given.crop, given.flip
