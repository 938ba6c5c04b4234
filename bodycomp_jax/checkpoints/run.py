"""Checkpoints of a run (Orbax), and trained networks read from them.

A checkpoint is a folder with the items `variables` (what prediction needs), `training` (what
continuing needs besides), and the documents `config`, `progress` and `checksums`.
`final_model` has `variables`, `config` and `checksums`.
"""

import json
import math
import os
import re
import shutil
import tempfile
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from orbax.checkpoint import checkpoint_managers as managers

from bodycomp_jax import config as configs
from bodycomp_jax.checkpoints import keras_network
from bodycomp_jax.errors import InputError, WorkError
from bodycomp_jax.inference import predictors
from bodycomp_jax.runtime import processes
from bodycomp_jax.training import data_parallel

KEPT = 2  # the latest checkpoints; the best is kept besides
ON_DISK = KEPT + 3  # at most: also the best, the one being written, and the final model
BEST = 'val_loss'  # the lower the better


class Checkpoints:
    """The checkpoints of one run folder, saved while training goes on.

    A save that fails does not end the training: `warn` is told, and the next save tries again.
    Every process of a job calls every method. The first alone reads and writes, as all have the
    same state; what it finds, or the error it meets, is everyone's.
    """

    def __init__(self, run_dir, config, warn):
        self._run_dir = os.path.abspath(run_dir)
        self._config = configs.to_json(config)
        self._warn = warn
        self._failure = None  # of the latest save
        self._manager = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._close()

    def restore(self, state):
        """(state, progress) of the latest sound checkpoint; (`state`, None) where there is none.

        Newer ones that are damaged are moved to `damaged_checkpoints`.

        Args:
          state: of the structure and shapes that are wanted, on the host.

        Raises WorkError if there are checkpoints but none is sound; then nothing is moved.
        """
        fields, progress = processes.first(self._restore, state)
        return serialization.from_state_dict(state, fields), progress

    def _restore(self, state):
        like = {'variables': state.variables, 'training': _training_item(state)}
        progress = None
        damages = {}
        for folder in _newest_first(self._run_dir):
            try:
                arrays, documents = _read(folder, like, ('config', 'progress'))
            except DamageError as damage:
                damages[folder] = damage
                continue
            state = state.replace(**arrays['variables'], **arrays['training'])
            progress = documents['progress']
            break
        if damages and progress is None:
            raise WorkError(
                f'{self._run_dir}: no checkpoint of this run is sound ({_listed(damages)}). '
                'Put one back from a backup, or give another --name to begin again'
            )
        for folder, damage in damages.items():
            self._warn(f'{folder} is damaged ({damage}); moved to {_set_aside(folder)}')
        self._open()
        return [serialization.to_state_dict(state), progress]

    def save(self, state, progress):
        """Begins to save; returns before it is done.

        Args:
          state: a `TrainState`, the same in every process.
          progress: plain JSON values; 'history' has a row of numbers for each finished epoch.
        """
        if not processes.is_first():
            return
        state = jax.device_get(state)
        for _ in range(2):  # Orbax reports here that the save before has failed: then once more
            try:
                self._begin(state, progress)
                self._failure = None
                return
            except Exception as error:  # of many kinds
                self._note(error)
                self._open()

    def finish(self):
        """Waits for the save in flight. Raises WorkError if the latest save failed."""
        processes.first(self._finish)

    def _finish(self):
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # of many kinds
            self._note(error)
        if self._failure is not None:
            raise WorkError(
                f'{self._run_dir}: the last checkpoint could not be saved ({self._failure}); make '
                'room and give the same command again'
            )

    def export_best(self):
        """Writes the best sound checkpoint's weights to `final_model`.

        Returns:
          (its folder, its step).

        Raises WorkError if there is none, or none with a finite validation loss, or no room.
        """
        return processes.first(self._export_best)

    def _export_best(self):
        best = next(self._best_first(), None)
        if best is None:
            raise WorkError(
                f'{self._run_dir}: no checkpoint with a finite validation loss to make a model of; '
                'begin again with a lower --learning_rate'
            )
        folder, variables = best
        final_model = os.path.join(self._run_dir, 'final_model')
        written = _read_checksums(final_model)
        if not _checksums({'variables': variables}).items() <= written.items():
            _write_beside_and_swap(final_model, variables, self._config)
        return [final_model, _step_of(folder)]

    def _best_first(self):
        """(folder, variables) of the sound checkpoints that ended an epoch, the best first."""
        epochs = []
        for folder in _newest_first(self._run_dir):
            try:
                progress = _read(folder, {}, ('progress',))[1]['progress']
            except DamageError as damage:
                self._warn(f'{folder} is damaged ({damage})')
                continue
            row = progress['history'][-1] if progress['history'] else {}
            if row.get('step') == _step_of(folder) and math.isfinite(row[BEST]):
                epochs.append((row[BEST], folder))
        for _, folder in sorted(epochs):
            try:
                yield folder, _read_variables(folder, self._config)
            except DamageError as damage:
                self._warn(f'{folder} is damaged ({damage})')

    def _begin(self, state, progress):
        documents = {'config': self._config, 'progress': progress}
        arrays = {'variables': state.variables, 'training': _training_item(state)}
        row = progress['history'][-1] if progress['history'] else {}
        step = int(state.step)
        ends_epoch = row.get('step') == step
        if step in self._manager.all_steps():  # the same weights, before their validation
            self._manager.delete(step)
        self._manager.save(
            step,
            args=_save_args(arrays, documents),
            metrics={BEST: row[BEST]} if ends_epoch else None,
            force=True,
        )

    def _open(self):
        self._close()
        policy = managers.AnyPreservationPolicy(
            [
                managers.LatestN(KEPT),
                managers.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
            ]
        )
        os.makedirs(_checkpoints_dir(self._run_dir), exist_ok=True)
        self._manager = ocp.CheckpointManager(
            _checkpoints_dir(self._run_dir),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=_score,
                cleanup_tmp_directories=True,
                create=False,
                multiprocessing_options=_this_process(),
            ),
        )

    def _close(self):
        """Waits for the save in flight; notes its error instead of raising it."""
        if self._manager is not None:
            try:
                self._manager.close()
            except Exception as error:  # of many kinds
                self._note(error)
            self._manager = None

    def _note(self, error):
        self._failure = _in_a_line(error)
        self._warn(
            f'a checkpoint could not be saved in {self._run_dir} ({self._failure}); the earlier '
            'ones are kept, training goes on and the next epoch tries again'
        )


def refuse_changes(run_dir, config, data):
    """Raises InputError if the run in this folder was begun with other settings or other data.

    Args:
      run_dir: the folder of the run.
      config: the hyper-parameters; epochs may be more than the run was begun with.
      data: what identifies the sets, plain JSON values; None to allow any.
    """
    documents = _documents_of_latest(run_dir)
    if documents is None:
        return
    begun = configs.from_json(documents['config'])
    for name in configs.differences(begun, config):
        if name == 'network':
            raise InputError(
                f'{run_dir}: the run in this folder trains the {begun.network} network; give '
                'another --name'
            )
        if name != 'epochs':
            was, wanted = getattr(begun, name), getattr(config, name)
            raise InputError(
                f'{run_dir}: this run was begun with --{name} {configs.as_flag(was)}, not '
                f'{configs.as_flag(wanted)}; give the same value to continue it, or another '
                '--name to start a new run'
            )
    if config.epochs < begun.epochs:
        raise InputError(
            f'{run_dir}: this run was begun with --epochs {begun.epochs}, which may grow but not '
            f'shrink to {config.epochs}; give another --name to start a new run'
        )
    for split, arrays in (data or {}).items():
        for kind, identity in arrays.items():
            was = documents['progress']['data'][split][kind]
            for name in identity:
                if identity[name] != was[name]:
                    raise InputError(
                        f'{run_dir}: this run was begun on other {split} {kind}: their {name} was '
                        f'{was[name]} and is {identity[name]}; give the same data, another --name, '
                        'or --allow_data_change'
                    )


def refuse_small_disk(run_dir, state):
    """Raises InputError if the checkpoints of such a state cannot fit beside what is on disk."""
    existing = os.path.abspath(run_dir)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    needed = ON_DISK * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    held = sum(
        os.path.getsize(os.path.join(folder, name))
        for top in (_checkpoints_dir(run_dir), os.path.join(run_dir, 'final_model'))
        for folder, _, names in os.walk(top)
        for name in names
    )
    free = shutil.disk_usage(existing).free
    if free + held < needed:
        raise InputError(
            f'{run_dir}: the checkpoints of this network take up to {needed / 1e6:,.0f} MB, but '
            f'{free / 1e6:,.0f} MB are free; make room or choose another output folder'
        )


def starting_network(run_dir, config):
    """The network to train, as far as it is decided before any flag.

    Returns:
      {name: value}: of the run in this folder, if it continues, else of the weights that
      `config.load_weights` names; {} where it names none.

    Raises InputError if they cannot be read or are of the other trainer's network.
    """
    if config.load_weights is None:
        return {}
    documents = _documents_of_latest(run_dir)
    if documents is None and os.path.isfile(config.load_weights):
        return _plain(keras_network.tells(config.load_weights, config.network))
    begun = documents and configs.from_json(documents['config'])
    network = _network_of(begun or _load(config.load_weights, {}, config.network)[0])
    return _plain(network)


def starting_weights(run_dir, config):
    """The weights that `config.load_weights` names; None if there are none or the run continues.

    Raises InputError if they are of another network.
    """
    if config.load_weights is None or _newest_first(run_dir):
        return None
    return _load(config.load_weights, _network_of(config), config.network)[1]


def load_model(path, **told):
    """Loads a trained network for prediction.

    Args:
      path: a run folder (its `final_model`, else its latest sound checkpoint), a checkpoint, a
        `final_model` folder or a Keras file of the reference.
      told: config fields that a Keras file may not tell, such as activation='elu', threshold=10.0,
        levels=('L3', 'L1'); what the file tells must be the same.

    Returns:
      A function of HU slices: a `predictors.Segmenter`, to tissue probabilities and labels, or a
      `predictors.SliceSelector`, to offsets in mm from vertebral levels.

    Raises InputError where there is no model, only damaged ones, or another than was told.
    """
    config, variables = _load(path, told)
    dtype = data_parallel.compute_dtype(config.precision, jax.local_devices())
    return predictors.predictor(config, variables, dtype)


def convert(source, target, **told):
    """Makes a `final_model` folder of a Keras file, or a Keras weights file of one of our networks.

    Args:
      source: as the path of `load_model`.
      target: what is written; it must not exist.
      told: as for `load_model`.

    Returns:
      The config of the network.

    Raises InputError as `load_model`, and where the target exists.
    """
    target = os.path.abspath(target)
    if os.path.lexists(target):
        raise InputError(f'{target}: this exists already; remove it or write to another place')
    config, variables = _load(source, told)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.converted_', dir=folder) as beside:
        new = os.path.join(beside, 'new')
        if os.path.isfile(source):
            with _checkpointer() as checkpointer:
                checkpointer.save(new, args=_model_args(variables, configs.to_json(config)))
        else:
            keras_network.write(new, config, variables)
        os.rename(new, target)
    return config


def _load(path, told, network=None):
    """(config, variables on the host) of a network that must be as told. Raises InputError."""
    if os.path.isfile(path):
        return keras_network.read(path, told, network)
    config, variables = _load_folder(path)
    if network not in (None, config.network):
        raise InputError(f'{path}: this is a {config.network} network, not a {network} network')
    contradiction = configs.contradiction(_network_of(config), told)
    if contradiction:
        raise InputError(f'{path}: {contradiction}; give the same value')
    return config, variables


def _load_folder(path):
    """(config, variables on the host) of the first sound model in a folder. Raises InputError."""
    path = os.path.abspath(path)
    damages = {}
    for folder in (path, os.path.join(path, 'final_model'), *_newest_first(path)):
        if os.path.isdir(os.path.join(folder, 'variables')):
            try:
                fields = _read(folder, {}, ('config',))[1]['config']
                return configs.from_json(fields), _read_variables(folder, fields)
            except DamageError as damage:
                damages[folder] = damage
    raise InputError(
        f'{path}: there is no {"sound " if damages else ""}model'
        f'{f" ({_listed(damages)})" if damages else ""}; give the folder of a run, one of its '
        'checkpoints (checkpoints/<step>), its final_model or a Keras file of the reference'
    )


def _network_of(config):
    """{name: value} of the fields of a config that describe its network."""
    names = configs.names(config, group='Network')
    return {name: getattr(config, name) for name in names}


def _plain(values):
    """Config fields as JSON values, which other processes can be told."""
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


class DamageError(Exception):
    """What is wrong with a checkpoint on disk."""


def _newest_first(run_dir):
    """The folders of a run's checkpoints; what a save in flight left behind is not one."""
    checkpoints = _checkpoints_dir(run_dir)
    if not os.path.isdir(checkpoints):
        return []
    steps = sorted(int(name) for name in os.listdir(checkpoints) if re.fullmatch(r'\d+', name))
    return [os.path.join(checkpoints, str(step)) for step in reversed(steps)]


def _documents_of_latest(run_dir):
    """{'config', 'progress'} of the latest checkpoint whose documents are sound, or None."""
    for folder in _newest_first(run_dir):
        try:
            return _read(folder, {}, ('config', 'progress'))[1]
        except DamageError:
            continue
    return None


def _read(folder, like, documents):
    """Reads items of a checkpoint and compares them with their checksums.

    Args:
      folder: of the checkpoint.
      like: {item: pytree of arrays of the shapes that are wanted}.
      documents: names of JSON items.

    Returns:
      ({item: pytree}, {name: JSON values}).

    Raises DamageError where something is missing, unreadable or not what was saved.
    """
    restore = {
        item: ocp.args.StandardRestore(jax.tree.map(_host_array_like, target))
        for item, target in like.items()
    }
    restore |= {name: ocp.args.JsonRestore() for name in (*documents, 'checksums')}
    try:
        with _checkpointer() as checkpointer:
            items = checkpointer.restore(folder, args=ocp.args.Composite(**restore))
        found = {name: items[name] for name in (*like, *documents)}
        expected = items['checksums']
        wrong = [name for name, crc in _checksums(found).items() if expected[name] != crc]
    except Exception as error:  # damage makes Orbax and its JSON raise errors of many kinds
        raise DamageError(_in_a_line(error)) from error
    if wrong:
        raise DamageError(f'{wrong[0]} is not what was saved')
    return {item: found[item] for item in like}, {name: found[name] for name in documents}


def _read_variables(folder, config_fields):
    """The weights in a checkpoint or final model, on the host. Raises DamageError."""
    shapes = predictors.shapes(configs.from_json(config_fields))
    return _read(folder, {'variables': shapes}, ())[0]['variables']


def _read_checksums(folder):
    try:
        return _read(folder, {}, ('checksums',))[1]['checksums']
    except DamageError:
        return {}


def _write_beside_and_swap(final_model, variables, config_fields):
    """A complete final model stands at its place at every moment but that of two renames."""
    new, old = f'{final_model}.new', f'{final_model}.old'
    _remove_beside(final_model)
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(new, args=_model_args(variables, config_fields))
    except Exception as error:  # of many kinds
        _remove_beside(final_model)
        raise WorkError(
            f'{final_model}: could not be written ({_in_a_line(error)}); make room and give the '
            'same command again'
        ) from error
    if os.path.exists(final_model):
        os.rename(final_model, old)
    os.rename(new, final_model)
    _remove_beside(final_model)


def _remove_beside(final_model):
    """Removes what such a swap, or the kill of one, leaves behind."""
    folder, name = os.path.split(final_model)
    for other in os.listdir(folder):
        if other.startswith(f'{name}.'):
            shutil.rmtree(os.path.join(folder, other), ignore_errors=True)


def _model_args(variables, config_fields):
    return _save_args({'variables': variables}, {'config': config_fields})


def _save_args(arrays, documents):
    documents = {**documents, 'checksums': _checksums({**arrays, **documents})}
    return ocp.args.Composite(
        **{item: ocp.args.StandardSave(tree) for item, tree in arrays.items()},
        **{name: ocp.args.JsonSave(values) for name, values in documents.items()},
    )


def _checksums(items):
    """{name: CRC-32} of each array and each document; the checksums themselves have none."""
    sums = {}
    for item, values in items.items():
        leaves = jax.tree_util.tree_leaves_with_path(values)
        if leaves and all(hasattr(leaf, 'dtype') for _, leaf in leaves):
            for path, leaf in leaves:
                contiguous = np.ascontiguousarray(leaf)
                sums[f'{item}{jax.tree_util.keystr(path)}'] = zlib.crc32(contiguous)
        elif item != 'checksums':
            sums[item] = zlib.crc32(json.dumps(values, sort_keys=True).encode())
    return sums


def _set_aside(folder):
    """Moves a damaged checkpoint to where nothing looks for checkpoints; returns its new place."""
    run_dir = os.path.dirname(os.path.dirname(folder))
    aside = os.path.join(run_dir, 'damaged_checkpoints', os.path.basename(folder))
    os.makedirs(os.path.dirname(aside), exist_ok=True)
    place, n = aside, 1
    while os.path.exists(place):
        place, n = f'{aside}_{n}', n + 1
    os.rename(folder, place)
    return place


def _checkpoints_dir(run_dir):
    return os.path.join(os.path.abspath(run_dir), 'checkpoints')


def _step_of(folder):
    return int(os.path.basename(folder))


def _training_item(state):
    return {'step': state.step, 'opt_state': state.opt_state}


def _score(metrics):
    """The higher the better; a loss that is not finite is worse than any other."""
    return -metrics[BEST] if math.isfinite(metrics[BEST]) else -math.inf


def _checkpointer():
    options = ocp.CompositeOptions(multiprocessing_options=_this_process())
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(composite_options=options),
        multiprocessing_options=_this_process(),
    )


def _this_process():
    """Lets Orbax wait for no other process of the job."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f'process_{index}'
    )


def _host_array_like(leaf):
    return np.empty(leaf.shape, leaf.dtype)


def _listed(damages):
    return '; '.join(f'{folder}: {damage}' for folder, damage in damages.items())


def _in_a_line(error):
    """The first line of an error's message, or its kind if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
