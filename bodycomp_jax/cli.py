"""The command line: flags made from config dataclasses, and the start-up of every program."""

import dataclasses
import datetime
import logging
import os
import signal
import sys
import textwrap
import traceback

import jax
from absl import flags

from bodycomp_jax import checkpoint, cluster
from bodycomp_jax import config as configs
from bodycomp_jax.errors import InputError, Stopped, WorkError

HELP_FLAGS = ('--help', '-h', '-?', '--helpfull', '--helpshort')
HELP_WIDTH = 96
DEFAULT_NAME = 'untitled_model_%Y_%m_%d_%H_%M_%S'
MAX_NAME_BYTES = 255
KINDS = {  # of values, as --help shows them
    int: 'N',
    float: 'X',
    str: 'TEXT',
    tuple[int, ...]: 'N,N,...',
    tuple[str, ...]: 'TEXT,TEXT,...',
}


def run(main):
    """Runs a program and ends the process; messages instead of tracebacks for its own errors.

    Exit codes: 0 all done, 1 failed work, 2 wrong usage or input, 128 + n ended by signal n.
    """
    _silence_orbax()
    try:
        main(sys.argv)
    except (InputError, WorkError, OSError, Stopped, KeyboardInterrupt) as error:
        everywhere = getattr(error, 'everywhere', False)
        message = _message(error)
        if message and (cluster.is_first() or not everywhere):
            said_by = '' if everywhere else cluster.said_by()
            print(f'{os.path.basename(sys.argv[0])}: {said_by}{message}', file=sys.stderr)
        if not everywhere:
            cluster.leave_at_once(_exit_code(error))
        sys.exit(_exit_code(error))
    except Exception:
        traceback.print_exc()
        cluster.leave_at_once(1)
        sys.exit(1)


def _message(error):
    if isinstance(error, Stopped):  # the loop has told it
        return ''
    return 'interrupted' if isinstance(error, KeyboardInterrupt) else str(error)


def _exit_code(error):
    if isinstance(error, Stopped):
        return 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, InputError) else 1


def parse(argv, description, *config_classes, **defaults):
    """Reads the command line into one value of each config class.

    Fields whose metadata say so may be given by position instead of by flag. `--help` prints
    every flag and ends the process. Raises InputError for wrong usage.

    Args:
      argv: the program and its arguments.
      description: of the program, for --help.
      config_classes: whose fields are the flags.
      defaults: {name: value} of flags whose default is another than that of their class.
    """
    defaults = {n: tuple(v) if isinstance(v, list) else v for n, v in defaults.items()}
    fields = [
        field for config_class in config_classes for field in dataclasses.fields(config_class)
    ]
    if any(argument in HELP_FLAGS for argument in argv[1:]):
        print(_help(argv[0], description, fields))
        sys.exit(0)
    values = flags.FlagValues()
    for field in fields:
        _define(field, defaults.get(field.name, field.default), values)
    try:
        positional = values(argv)[1:]
    except flags.Error as error:
        raise InputError(f'{error}. --help lists all flags') from error
    given = {field.name: getattr(values, field.name) for field in fields}
    given |= _by_position([f.name for f in fields if f.metadata['positional']], positional, given)
    return [
        config_class(
            **{field.name: given[field.name] for field in dataclasses.fields(config_class)}
        )
        for config_class in config_classes
    ]


def start(argv, description, config_class):
    """What every trainer begins with: its flags, the other processes, its folder and devices.

    Network flags that are not given are as `--load_weights` has them.

    Args:
      argv, description: as of `parse`.
      config_class: of the trainer's hyper-parameters.

    Returns:
      (`RunConfig`, config, folder of the run, devices of all processes to train on).

    Raises InputError for wrong usage.
    """
    run, config = parse(argv, description, configs.RunConfig, config_class)
    cluster.join(run)
    run_dir = cluster.first(run_folder, run)
    network = cluster.first(checkpoint.starting_network, run_dir, config)
    run, config = parse(argv, description, configs.RunConfig, config_class, **network)
    with cluster.agreed():
        found = devices(run.num_gpus, config.batch_size)
        keep_compiled_programs(found)
    return run, config, run_dir, found


def trainer_config(argv):
    """(config class of the network that the first argument may name, argv without it)."""
    if len(argv) > 1 and argv[1] in configs.CONFIGS:
        return configs.CONFIGS[argv[1]], [argv[0], *argv[2:]]
    return configs.SegmentationConfig, argv


def run_folder(run_config):
    """The folder of the run, MODEL_OUTPUT_DIR/NAME, not made yet; without a name that of the time.

    Raises InputError where no run can be.
    """
    name = run_config.name
    if name is None:
        name = datetime.datetime.now().strftime(DEFAULT_NAME)
    plain = name.isprintable() and name == name.strip() and not set(name) & {'/', '\\'}
    if name in ('', '.', '..') or not plain or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise InputError(
            f'--name: {name!r} is not a plain folder name; use at most {MAX_NAME_BYTES} bytes, '
            'no / and no \\, no blank at either end'
        )
    run_dir = os.path.join(run_config.model_output_dir, name)
    _refuse_unwritable(run_dir)
    if os.path.isdir(run_dir) and os.listdir(run_dir) and not _is_run(run_dir):
        raise InputError(
            f'{run_dir}: this folder has other things in it, not a run; choose another --name'
        )
    return run_dir


def existing_folder(folder):
    """The folder, or the nearest one above it that exists."""
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    return existing


def devices(num_gpus, batch_size):
    """The devices of all processes to train on, those of one process after those of another.

    Args:
      num_gpus: how many of each process; None for all.
      batch_size: which must divide over all of them.

    Raises InputError if there are too few or the batch does not fit.
    """
    try:
        found = [jax.local_devices(i) for i in range(jax.process_count())]
    except (RuntimeError, AssertionError) as error:  # the latter for JAX_PLATFORMS=cuda on CPU
        raise InputError(f'JAX found no device to compute on: {error}') from error
    there, kind = len(found[0]), found[0][0].device_kind
    each = there if num_gpus is None else num_gpus
    if not 1 <= each <= there:
        where = 'this machine' if cluster.is_alone() else 'each process'
        raise InputError(
            f'--num_gpus: {each} devices asked for, but {where} has {there} ({kind}); use a '
            f'number in 1..{there}'
        )
    used = [device for of_process in found for device in of_process[:each]]
    if batch_size % len(used):
        raise InputError(
            f'--batch_size: {batch_size} images do not divide over {len(used)} devices; use a '
            f'multiple of {len(used)}, or other --num_gpus'
        )
    return used


def keep_compiled_programs(devices):
    """Keeps what is compiled for GPU and TPU in the user's cache folder, for the next start."""
    if devices[0].platform == 'cpu' or jax.config.jax_compilation_cache_dir:
        return
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    jax.config.update('jax_compilation_cache_dir', os.path.join(cache, 'bodycomp_jax'))


class _IntegersParser(flags.ArgumentParser):
    """'16,32,64' to (16, 32, 64)."""

    def parse(self, argument):
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(int(number) for number in argument.split(',') if argument)
        except ValueError:
            raise ValueError('use whole numbers separated by commas, such as 16,32,64') from None


class _NamesFlag(flags.Flag):
    """'T5,T8', or each on its own as the flag is repeated, to ('T5', 'T8')."""

    def parse(self, argument):
        names = tuple(name.strip() for name in argument.split(',') if name.strip())
        self.value = (*self.value, *names) if self.present else names
        self.present += 1


def _define(field, default, values):
    metadata = field.metadata
    options = {
        'flag_values': values,
        'short_name': metadata['short'],
        'allow_overwrite': False,  # a flag given twice is a mistake
    }
    define = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    if metadata['choices'] is not None:
        flags.DEFINE_enum(field.name, default, metadata['choices'], metadata['help'], **options)
    elif configs.field_type(field) in define:
        define[configs.field_type(field)](field.name, default, metadata['help'], **options)
    elif configs.field_type(field) == tuple[str, ...]:
        flag = _NamesFlag(
            flags.ArgumentParser(),
            None,
            field.name,
            None,
            metadata['help'],
            short_name=metadata['short'],
        )
        flag.value = default
        flags.DEFINE_flag(flag, values)
    else:
        flags.DEFINE(_IntegersParser(), field.name, default, metadata['help'], **options)


def _by_position(names, positional, given):
    """{name: value} for the positional arguments; each name must be given exactly once."""
    if len(positional) > len(names):
        raise InputError(
            f'{positional[len(names)]!r}: one argument too many; expected '
            + (' '.join(names).upper() or 'flags alone')
        )
    free = [name for name in names if given[name] is None]
    if len(positional) > len(free):
        twice = next(name for name in names if given[name] is not None)
        raise InputError(
            f'{twice.upper()} is given twice, by position and as --{twice}; give it once'
        )
    missing = free[len(positional) :]
    if missing:
        raise InputError(f'{missing[0].upper()} is missing. --help shows what to give')
    return dict(zip(free, positional, strict=False))


def _help(program, description, fields):
    positional = ' '.join(field.name.upper() for field in fields if field.metadata['positional'])
    usage = f'python {program} {positional} [flags]' if fields else f'python {program}'
    lines = [usage, '', *_wrap(description, 0)]
    for group in configs.GROUPS:
        of_group = [field for field in fields if field.metadata['group'] == group]
        if of_group:
            lines += ['', group, *(line for field in of_group for line in _help_on(field))]
    return '\n'.join(lines)


def _help_on(field):
    metadata = field.metadata
    short = f'-{metadata["short"]}, ' if metadata['short'] else '    '
    if configs.field_type(field) is bool:
        head = f'{short}--[no]{field.name}'
    elif metadata['choices'] is not None:
        head = f'{short}--{field.name} {"|".join(metadata["choices"])}'
    else:
        kind = KINDS[configs.field_type(field)]
        head = f'{short}--{field.name} {kind}'
    text = metadata['help']
    if field.default is not None:
        text += f' (default: {configs.as_flag(field.default)})'
    return [*_wrap(head, 2), *_wrap(text, 10)]


def _wrap(text, indent):
    return textwrap.wrap(
        text, HELP_WIDTH, initial_indent=' ' * indent, subsequent_indent=' ' * indent
    )


def _refuse_unwritable(folder):
    """Raises InputError if the folder is not writable or cannot be made."""
    existing = existing_folder(folder)
    if not os.path.isdir(existing):
        raise InputError(f'{folder}: {existing} is not a folder; choose another output folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f'{folder}: {existing} is not writable for this user; choose another output folder'
        )


def _silence_orbax():
    """Orbax logs every step of a save, and what it also raises; its messages become ours.

    After a damaged checkpoint its threads call into an event loop that is gone.
    """
    for logger in ('absl', 'asyncio'):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    show = sys.unraisablehook

    def show_others(unraisable):
        if 'Event loop is closed' not in str(unraisable.exc_value):
            show(unraisable)

    sys.unraisablehook = show_others


def _is_run(folder):
    """Whether a training has ever begun in this folder, however soon it was killed."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ('args.json', '.lock'))
