"""The closed lists of what a key of a saved configuration may name as `_target_`.

They hold what conf/ names, this project's other classes in the same role, and torch's and Lightning's own.
"""

from collections.abc import Sequence

SPACES = (
    "nas.spaces.darts.DartsSpace",
    "nas.spaces.dso.DsoSpace",
    "nas.spaces.nasbench201.NasBench201Space",
    "nas.spaces.recurrent.RecurrentSpace",
)
ALGORITHMS = tuple(f"nas.algorithms.{name}" for name in ("Evolution", "LocalSearch", "Random", "Reinforce"))
METHODS = (
    "nas.methods.controlled.ControllerMethod",
    "nas.methods.method.Method",
    "nas.methods.sparse.SparseMethod",
)
RELAXATIONS = tuple(
    f"nas.methods.relaxations.{name}"
    for name in (
        "Concrete", "Connections", "Dirichlet", "Frequencies", "HardConcrete", "OneHot", "ScalingFactors",
        "Sigmoid", "Simplex", "Softmax", "WholeDraw",
    )
)  # fmt: skip
UPDATES = tuple(
    f"nas.methods.updates.{name}"
    for name in (
        "CoordinateDescent", "FirstOrder", "Gates", "ImportanceWeights", "Joint", "MixedLevel",
        "ScoreFunction", "Unrolled", "WeightsAlone",
    )
)  # fmt: skip
SELECTIONS = tuple(f"nas.methods.selections.{name}" for name in ("BestOf", "PosteriorVariance", "Projection"))
PERTURBATIONS = tuple(f"nas.methods.perturbations.{name}" for name in ("Adversarial", "Random"))
REGULARIZERS = tuple(
    f"nas.methods.regularizers.{name}"
    for name in ("Anchor", "AuxiliarySkip", "BetaDecay", "DropPath", "GatePrior", "SkipDropout", "ZeroOne")
)
MONITORS = tuple(
    f"nas.methods.monitors.{name}"
    for name in ("AdaptiveRegularization", "BestEpoch", "DominantEigenvalue", "GradientAgreement", "Skips")
)
SOURCES = (
    "nas.data.arrays.Arrays",
    "nas.data.cifar.Cifar",
    "nas.data.corpus.Corpus",
    "nas.data.digits.Digits",
    "nas.data.embedded.WikiTextMini",
    "nas.data.folder.ImageFolder",
    "nas.data.given.Given",
    "nas.data.imagenet16.ImageNet16",
    "nas.data.own_folder.OwnFolder",
    "nas.data.own_table.OwnTable",
    "nas.data.ptb.PennTreebank",
    "nas.data.wikitext2.WikiText2",
)
OPTIMIZERS = (
    "nas.engine.decay.sgd_but_biases",
    "nas.engine.decay.sgd_on_matrices",
    "nas.methods.exponentiated.ExponentiatedGradient",
    "nas.methods.proximal.AcceleratedProximalGradient",
    *(
        f"torch.optim.{name}"
        for name in (
            "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam",
            "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam",
        )
    ),
)  # fmt: skip
SCHEDULERS = (
    "nas.engine.rates.WarmCosine",
    "nas.engine.rates.cosine_with_warmup",
    "nas.engine.rates.linear_with_warmup",
    "nas.engine.rates.warmup_then_linear",
    *(
        f"torch.optim.lr_scheduler.{name}"
        for name in (
            "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR",
            "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR",
            "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
        )
    ),
)  # fmt: skip
PROFILERS = tuple(
    f"pytorch_lightning.profilers.{name}"
    for name in ("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler")
)
# Key -> what it may name; `*` stands for a place in a list.
ROLES = {
    "algorithm": ALGORITHMS,
    "space": (*SPACES, "nas.running.held.space"),
    "method": (*METHODS, "nas.running.held.method"),
    "method.relaxation": RELAXATIONS,
    "method.edges": RELAXATIONS,
    "method.selection": SELECTIONS,
    "method.update": UPDATES,
    "method.schedule": ("nas.methods.schedules.Schedule",),
    "method.regularizers.*": REGULARIZERS,
    "method.perturbation": PERTURBATIONS,
    "method.monitors.*": MONITORS,
    "method.weight_optimizer": OPTIMIZERS,
    "method.architecture_optimizer": OPTIMIZERS,
    "method.weight_scheduler": SCHEDULERS,
    "dataset.source": SOURCES,
    "recipe.optimizer": OPTIMIZERS,
    "recipe.scheduler": SCHEDULERS,
    "trainer.profiler": PROFILERS,
}
# Keys whose objects take the caller's own word, whoever has brought them: they may unpickle what a folder's
# arguments name.
VOUCHED = ("tabular.surrogate",)
# Arguments of Lightning's Trainer that this project gives itself, and what to type instead.
OURS = {
    "logger": "choose logger=csv, tensorboard or wandb",
    "plugins": "what computes is said by hardware=, and the checkpoints are this project's",
}


def role(key: Sequence) -> str:
    """A key as `ROLES` has it: `*` for a place in a list, and for the name of a regularizer or monitor."""
    named = tuple(key[:2]) in (("method", "regularizers"), ("method", "monitors"))
    return ".".join(
        "*" if isinstance(part, int) or (named and place == 2) else str(part)
        for place, part in enumerate(key)
    )
