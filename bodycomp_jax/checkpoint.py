"""Checkpoints of a run (Orbax), and trained networks read from them.

A checkpoint is a folder with the items `variables` (what prediction needs), `training` (what
continuing needs besides), `config` and `history`. `final_model` has `variables` and `config`.
"""

import functools
import logging
import math
import os

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from bodycomp_jax import config as configs
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import unet
from bodycomp_jax.models.segmenter import Segmenter

KEPT = 2  # the latest checkpoints; the best is kept besides
BEST = 'val_loss'  # the lower the better

logging.getLogger('absl').setLevel(logging.WARNING)  # Orbax reports every step of every save


class Checkpoints:
    """The checkpoints of one run folder, saved while training goes on."""

    def __init__(self, run_dir, config):
        self._final_model = os.path.join(os.path.abspath(run_dir), 'final_model')
        self._config = configs.to_json(config)
        policy = managers.AnyPreservationPolicy(
            [managers.LatestN(KEPT), managers.BestN(get_metric_fn=_score, n=1)]
        )
        self._manager = ocp.CheckpointManager(
            _checkpoints_dir(run_dir),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, best_fn=_score, cleanup_tmp_directories=True
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._manager.close()  # waits for the save in flight

    def save(self, state, history):
        """Begins to save the state after the epochs in `history`; returns before it is done."""
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(state.variables),
                training=ocp.args.StandardSave(_training_item(state)),
                config=ocp.args.JsonSave(self._config),
                history=ocp.args.JsonSave(history),
            ),
            metrics={BEST: history[-1][BEST]},
        )

    def restore(self, state):
        """(state, history) of the latest checkpoint; (`state`, []) where there is none.

        Args:
          state: of the structure, shapes and placement that is wanted.
        """
        step = self._manager.latest_step()
        if step is None:
            return state, []
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                variables=ocp.args.StandardRestore(_like(state.variables)),
                training=ocp.args.StandardRestore(_like(_training_item(state))),
                history=ocp.args.JsonRestore(),
            ),
        )
        return state.replace(**items.variables, **items.training), items.history

    def export_best(self):
        """Writes the best checkpoint's weights to `final_model`; returns (its folder, its step)."""
        self._manager.wait_until_finished()
        step = self._manager.best_step()
        items = self._manager.restore(
            step, args=ocp.args.Composite(variables=ocp.args.StandardRestore())
        )
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(
                self._final_model,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardSave(items.variables),
                    config=ocp.args.JsonSave(self._config),
                ),
                force=True,
            )
        return self._final_model, step


def refuse_changes(run_dir, config):
    """Raises InputError if the run in this folder has other hyper-parameters, epochs aside."""
    latest = _latest(_checkpoints_dir(run_dir))
    if latest is None:
        return
    begun = _load_config(latest, type(config))
    for name in configs.differences(begun, config):
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


def starting_weights(run_dir, config):
    """The weights that `config.load_weights` names; None if there are none or the run continues.

    Raises InputError if they are of another network.
    """
    if config.load_weights is None or _latest(_checkpoints_dir(run_dir)) is not None:
        return None
    model = load_model(config.load_weights)
    for name in configs.differences(model.config, config, group='Network'):
        has, wanted = getattr(model.config, name), getattr(config, name)
        raise InputError(
            f'{config.load_weights}: this network has --{name} {configs.as_flag(has)}, not '
            f'{configs.as_flag(wanted)}; give the same value'
        )
    return model.variables


def load_model(path):
    """Loads a trained network for prediction.

    Args:
      path: a run folder (its `final_model`, else its latest checkpoint), a checkpoint or a
        `final_model` folder.

    Returns:
      A `Segmenter`: a function from HU slices to tissue probabilities and labels.

    Raises InputError where there is no model.
    """
    folder = _model_folder(path)
    config = _load_config(folder, configs.SegmentationConfig)
    network = unet.from_config(config)

    def logits(variables, slices):
        images = unet.inputs(slices, apply_window=config.apply_window_function)
        return network.apply(variables, images)

    side = config.size_divisor
    smallest = jnp.zeros((1, side, side, 1))
    target = jax.eval_shape(network.init, jax.random.key(0), smallest)
    with ocp.StandardCheckpointer() as checkpointer:
        variables = checkpointer.restore(os.path.join(folder, 'variables'), _on_one_device(target))
    return Segmenter(config, variables, logits)


def _model_folder(path):
    """Where `variables` and `config` are, for any path that `load_model` takes."""
    path = os.path.abspath(path)
    candidates = [path, os.path.join(path, 'final_model')]
    for folder in (*candidates, _latest(_checkpoints_dir(path))):
        if folder and os.path.isdir(os.path.join(folder, 'variables')):
            return folder
    raise InputError(
        f'{path}: there is no model; give the folder of a run, one of its checkpoints '
        '(checkpoints/<step>) or its final_model'
    )


def _latest(checkpoints_dir):
    """The folder of the latest checkpoint; None where there is none."""
    if not os.path.isdir(checkpoints_dir):
        return None
    steps = ocp.utils.checkpoint_steps(checkpoints_dir)
    return os.path.join(checkpoints_dir, str(max(steps))) if steps else None


def _load_config(folder, config_class):
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
        fields = checkpointer.restore(os.path.join(folder, 'config'))
    return configs.from_json(config_class, fields)


def _checkpoints_dir(run_dir):
    return os.path.join(os.path.abspath(run_dir), 'checkpoints')


def _training_item(state):
    return {'step': state.step, 'opt_state': state.opt_state}


def _score(metrics):
    """The higher the better; a loss that is not finite is worse than any other."""
    return -metrics[BEST] if math.isfinite(metrics[BEST]) else -math.inf


def _like(tree):
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _on_one_device(tree):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(functools.partial(jax.ShapeDtypeStruct.update, sharding=sharding), tree)
