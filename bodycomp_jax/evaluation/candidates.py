"""Who is compared: networks, on all devices together, and readers."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bodycomp_jax.checkpoints.network import Network, load_network
from bodycomp_jax.config import UNetConfig, as_flag, to_values
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.options import FOLD, EvaluationConfig
from bodycomp_jax.evaluation.study import Part
from bodycomp_jax.inference.load import PREDICTORS, short_names
from bodycomp_jax.runtime.devices import compiled, compute_dtype
from bodycomp_jax.training import data_parallel

BATCH = 16  # slices that are predicted and noted together


class Candidate(NamedTuple):
    """A network, or those of a cross-validation, or a reader.

    Attributes:
      name: what people call it.
      path: of its files; with `FOLD` for the networks of several folds.
      provenance: {what: value} of each of its networks.
      trainings: {option: value} of the training of each; empty where a training is not known.
    """

    name: str
    path: str
    provenance: list[dict[str, Any]]
    trainings: list[dict[str, Any]]


class Networks(NamedTuple):
    """Networks of one kind that are compared.

    Attributes:
      candidates: one for each.
      config: of the network that is the most exacting of the side of slices; all have its kind
        and see and answer the same.
      warnings: of patients that a network may have seen.
    """

    candidates: list[Candidate]
    config: Any
    warnings: list[str]


def open_networks(config: EvaluationConfig) -> Networks:
    """Reads what each network is; it is read again to answer.

    Raises InputError for networks of different kinds, that answer other questions, or that
    trained on the fold that they are to be measured on.
    """
    first: tuple[str, Network] | None = None
    candidates, configs, warnings = [], [], []
    for path in config.models:
        provenance, trainings = [], []
        for fold in config.evaluated_folds:
            of_fold = _path(path, fold)
            network = load_network(of_fold)
            first = first or (of_fold, network)
            _refuse_other_questions(*first, of_fold, network)
            configs.append(network.config)
            doubt = _seen(config, of_fold, fold, network)
            warnings += [] if doubt is None else [doubt]
            provenance.append(_provenance(of_fold, fold, network))
            trainings += [] if network.training is None else [to_values(network.training)]
        candidates.append(Candidate(_name(config, path), path, provenance, trainings))
    exacting = max(configs, key=lambda each: each.size_divisor, default=UNetConfig())
    return Networks(candidates, exacting, warnings)


def open_readers(config: EvaluationConfig) -> list[Candidate]:
    """The readers but the first, who is the reference standard."""
    return [Candidate(_name(config, path), path, [{'path': path}], []) for path in config.masks[1:]]


class Answers:
    """What each candidate says of the slices of a part."""

    def __init__(self, candidates: Sequence[Candidate], part: Part, devices: Sequence[jax.Device]):
        """Puts the networks of the part on all devices."""
        self._devices, self._part = devices, part
        count = len(candidates) - len(part.readers)
        self._networks = [
            _on_devices(load_network(_path(each.path, part.fold)), devices)
            for each in candidates[:count]
        ]
        self._compiled: list[jax.stages.Compiled] = []
        self.batch_size = -(-BATCH // len(devices)) * len(devices)

    def __call__(self, images: np.ndarray, rows: np.ndarray) -> list[Any]:
        """Of each candidate an array, those of networks on the devices and padded.

        Args:
          images: `[B, H, W]` as of the dataset, at most `BATCH`.
          rows: `[B]` their indices in the part.
        """
        padding = self.batch_size - len(images)
        padded = np.pad(images, ((0, padding), (0, 0), (0, 0)), mode='edge')
        sharded = data_parallel.shard_batch(padded, self._devices)
        answers = []
        for i, (step, variables) in enumerate(self._networks):
            if i == len(self._compiled):  # the first batch; all have its shape
                self._compiled.append(compiled(step.lower(variables, sharded), self._devices))
            answers.append(self._compiled[i](variables, sharded))
        return [*answers, *(reader.read(rows)['mask'] for reader in self._part.readers)]


def alike_but_for_the_seed(candidates: Sequence[Candidate]) -> set[tuple[int, int]]:
    """Pairs (a, b), a before b, whose trainings have the same options but for the seed."""

    def without_seed(candidate: Candidate) -> list[dict[str, Any]]:
        return [{**options, 'seed': None} for options in candidate.trainings]

    return {
        (a, b)
        for (a, first), (b, second) in itertools.combinations(enumerate(candidates), 2)
        if first.trainings
        and without_seed(first) == without_seed(second)
        and first.trainings != second.trainings
    }


def _name(config: EvaluationConfig, path: str) -> str:
    """Of one of all candidates."""
    paths = [*config.models, *config.masks[1:]]
    return short_names(paths)[paths.index(path)]


def _path(path: str, fold: int | None) -> str:
    return path if fold is None else path.replace(FOLD, str(fold))


def _on_devices(network: Network, devices: Sequence[jax.Device]) -> tuple[Any, Any]:
    """(step of the variables and a sharded batch, the variables on each device)."""
    config = network.config
    dtype = compute_dtype(network.precision, devices)
    predictor = PREDICTORS[config.kind]([(config, network.variables)], dtype)

    def step(variables, slices):
        answer = predictor.function(variables, slices)
        labels_or_offsets = answer[1] if config.kind == UNetConfig.kind else answer
        return data_parallel.gather_examples(labels_or_offsets)

    variables = data_parallel.replicate(predictor.variables, devices)
    return data_parallel.pmap_step(step, devices), variables


def _refuse_other_questions(first_path: str, first: Network, path: str, network: Network) -> None:
    if network.config.kind != first.config.kind:
        raise InputError(
            f'{path}: a {network.config.kind} network, but {first_path} is a {first.config.kind} '
            'network; compare networks of one kind'
        )
    for name in first.config.meaning:
        wanted, found = getattr(first.config, name), getattr(network.config, name)
        if found != wanted:
            raise InputError(
                f'{path}: a network with {as_flag(name, found)}, but {first_path} has '
                f'{as_flag(name, wanted)}; compare networks that answer the same question'
            )


def _seen(config: EvaluationConfig, path: str, fold: int | None, network: Network) -> str | None:
    """A warning if a network may have seen the patients.

    Raises InputError if it validated on another fold than it is measured on.
    """
    if network.training is None:
        return None
    validated = network.training.validating_fold
    if fold is None:
        if config.split == 'train':
            return f'{path}: the network may have been trained on these patients (--split=train)'
        if validated is not None and config.split == 'val':
            return (
                f'{path}: trained with --fold={validated[0]} --folds={validated[1]}, which share '
                'out both splits: if it was on this data, it has seen patients of the split val'
            )
        return None
    if validated is None:
        return f'{path}: trained without --folds, and if it was on this data, also on this fold'
    if validated != (fold, config.folds):
        raise InputError(
            f'{path}: trained with --fold={validated[0]} --folds={validated[1]}, and so on '
            f'patients of fold {fold} of {config.folds}; give the network of this fold'
        )
    return None


def _provenance(path: str, fold: int | None, network: Network) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name, leaf in jax.tree_util.tree_leaves_with_path(network.variables):
        digest.update(jax.tree_util.keystr(name).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    training = network.training
    return {
        'path': path,
        'sha256 of the weights': digest.hexdigest(),
        **({} if fold is None else {'fold': fold}),
        **({} if training is None else {'seed': training.seed, 'epochs': training.epochs}),
        'precision': network.precision,
    }
