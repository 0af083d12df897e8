"""`python -m nas.predict`: a trained network says what is on pictures, or how a text goes on."""

from pathlib import Path

from omegaconf import DictConfig

from nas.commands.predict_images import classify, truths_of
from nas.commands.predict_model import open_model
from nas.commands.predict_pictures import check_readable, find_pictures
from nas.commands.predict_text import read_input, read_on
from nas.engine.machine import hardware
from nas.engine.seeding import seed_run
from nas.engine.trainer import quiet
from nas.errors import require
from nas.formats.description import Description
from nas.running.session import Session


def run(config: DictConfig, path: Path) -> None:
    """Predicts as configured; see `conf/predict.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, or nothing of the input can be read.
        RunFailed: the prediction broke down.
    """
    require(config.resume is None, f"resume={config.resume}: a prediction cannot be continued; start it anew")
    for key in ("top", "batch_size"):
        require(config[key] >= 1, f"{key}={config[key]}: must be at least 1")
    quiet()
    hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    session = Session(config, path)
    config = session.config
    seed_run(config.seed)
    model = open_model(config)
    require(
        config.input is not None,
        "input=null: name a picture, a folder, a .csv of paths, an .npz with images, or a text file",
    )
    description = model.description
    session.summary |= {**model.notes, "input": str(Path(str(config.input)).expanduser().absolute())}
    if isinstance(description, Description):
        pictures = find_pictures(config.input, description)
        truths = truths_of(pictures, description, config.input)
        check_readable(pictures)
        session.open(None)
        session.run(lambda: classify(session, model, pictures, truths))
    else:
        tokens = read_input(config.input, description)
        session.open(None)
        session.run(lambda: read_on(session, model, tokens))
