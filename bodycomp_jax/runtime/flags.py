"""Command lines: flags made from config dataclasses."""

import dataclasses
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from bodycomp_jax.config import as_text, from_values, options, value_types
from bodycomp_jax.errors import InputError

GROUPS = (  # in the order of --help
    'Benchmark', 'Input and output', 'Synthetic subjects', 'Networks and levels',
    'Cases and splits', 'Slices and labels', 'Measuring', 'Network',
    'Training', 'Augmentation', 'Devices', 'Several processes',
)  # fmt: skip
HELP_FLAGS = ('--help', '-h', '-?', '--helpfull', '--helpshort')
HELP_WIDTH = 96
PLACEHOLDERS = {  # what --help shows for each type
    int: 'N',
    float: 'X',
    str: 'TEXT',
    tuple[int, ...]: 'N,N,...',
    tuple[str, ...]: 'TEXT,TEXT,...',
}


def parse(
    argv: Sequence[str], description: str | None, *config_classes: type
) -> tuple[list[Any], set[str]]:
    """Reads the command line into one value of each config class.

    Positional options may be given with or without their flag. `--help` prints every flag and
    ends the process.

    Args:
      argv: the program and its arguments.
      description: of the program, for --help.
      config_classes: the classes whose `config.options` are the flags.

    Returns:
      (one config per class, the names of the options that were given).

    Raises InputError for wrong usage.
    """
    fields = [field for config_class in config_classes for field in options(config_class)]
    if any(argument in HELP_FLAGS for argument in argv[1:]):
        print(_help(argv[0], description, fields))
        sys.exit(0)
    parsed = flags.FlagValues()
    for field in fields:
        _define(field, parsed)
    try:
        positional = parsed(argv)[1:]
    except flags.Error as error:
        raise InputError(f'{error}. --help lists all flags') from error
    values = {field.name: getattr(parsed, field.name) for field in fields}
    given = {field.name for field in fields if parsed[field.name].present}
    by_position = _by_position(
        [field for field in fields if field.metadata['positional']], positional, values
    )
    given |= set(by_position)
    values |= by_position
    for field in fields:
        if field.name in given and isinstance(values[field.name], str):
            values[field.name] = _checked_text(field, values[field.name])
    return [from_values(c, values) for c in config_classes], given


def refuse_without_effect(names: set[str], needed: str) -> None:
    """Raises InputError if any of these flags is given, which need another one."""
    if names:
        raise InputError(
            f'--{min(names)} has no effect without {needed}; add that, or leave it out'
        )


class _NumbersParser(flags.ArgumentParser):
    """Text to what `convert` makes of it; the default as it is."""

    def __init__(self, convert: Callable[[str], Any], wanted: str):
        self._convert, self._wanted = convert, wanted

    def parse(self, argument):
        if not isinstance(argument, str):
            return argument
        try:
            return self._convert(argument)
        except ValueError:
            raise ValueError(f'use {self._wanted}') from None


PARSERS = {
    int: _NumbersParser(int, 'a whole number, such as 16'),
    float: _NumbersParser(float, 'a number, such as 0.01'),
    tuple[int, ...]: _NumbersParser(
        lambda text: tuple(int(number) for number in text.split(',')) if text else (),
        'whole numbers separated by commas, such as 16,32,64',
    ),
}


class _NamesFlag(flags.Flag):
    """'T5,T8', or the flag repeated with each, to ('T5', 'T8')."""

    def parse(self, argument):
        names = tuple(name.strip() for name in argument.split(',') if name.strip())
        self.value = (*(self.value or ()), *names) if self.present else names
        self.present += 1


def _define(field: dataclasses.Field, parsed: flags.FlagValues) -> None:
    metadata, value_type = field.metadata, value_types(field)[0]
    name, text = field.name, metadata['help']
    default: Any = field.default
    settings = {
        'flag_values': parsed,
        'short_name': metadata['short'],
        'allow_overwrite': False,  # a flag given twice is a mistake
    }
    define: dict[Any, Any] = {bool: flags.DEFINE_boolean, str: flags.DEFINE_string}
    if metadata['choices'] is not None:
        flags.DEFINE_enum(name, default, metadata['choices'], text, **settings)
    elif value_type in define:
        define[value_type](name, default, text, **settings)
    elif value_type == tuple[str, ...]:
        flag = _NamesFlag(
            flags.ArgumentParser(), None, name, None, text, short_name=metadata['short']
        )
        flag.value = default
        flags.DEFINE_flag(flag, parsed)
    else:
        flags.DEFINE(PARSERS[value_type], name, default, text, **settings)


def _checked_text(field: dataclasses.Field, value: str) -> str:
    """The text that the user gave; a path with ~ expanded.

    Raises InputError for what a shell leaves where a variable is unset or in quotes.
    """
    if not value.strip():
        raise InputError(f'--{field.name} is empty: is a shell variable unset?')
    if not field.metadata['path']:
        return value
    if re.match(r'[A-Za-z][A-Za-z0-9+.-]+://', value):
        raise InputError(
            f'--{field.name}={value}: not a path of this machine; mount the bucket or the server, '
            'or copy the files, and give the path'
        )
    path = os.path.expanduser(value)
    if path.startswith('~') or re.match(r'\$\w|\$\{', path):
        raise InputError(
            f'--{field.name}={value}: there is no such user, or the shell did not expand the '
            f'variable; give the path itself, or ./{value} if it really begins like this'
        )
    return path


def _by_position(
    fields: list[dataclasses.Field], positional: list[str], values: dict[str, Any]
) -> dict[str, str]:
    """`{name: value}` of the positional arguments, each of which must be given once.

    Of fewer arguments than fields the last are given, if the first may be unset.
    """
    names = [field.name for field in fields]
    if len(positional) > len(names):
        raise InputError(
            f'unexpected argument {positional[len(names)]!r}: expected '
            + (' '.join(names).upper() or 'flags only')
        )
    free = [field for field in fields if values[field.name] is None]
    if len(positional) > len(free):
        twice = next(name for name in names if values[name] is not None)
        raise InputError(
            f'{twice.upper()} is given twice, by position and as --{twice}; give it once'
        )
    while len(free) > len(positional) and _is_optional(free[0]):
        del free[0]
    missing = free[len(positional) :]
    if missing:
        raise InputError(f'{missing[0].name.upper()} is missing; --help lists all arguments')
    return dict(zip((field.name for field in free), positional, strict=True))


def _is_optional(field: dataclasses.Field) -> bool:
    return type(None) in value_types(field)


def _help(program: str, description: str | None, fields: list[dataclasses.Field]) -> str:
    positional = [
        f'[{field.name.upper()}]' if _is_optional(field) else field.name.upper()
        for field in fields
        if field.metadata['positional']
    ]
    command = f'python {program}' if program.endswith('.py') else os.path.basename(program)
    usage = ' '.join([command, *positional, *(['[flags]'] if fields else [])])
    lines = [usage, '', *_wrap(description or '', 0)]  # -OO drops docstrings
    for group in sorted({field.metadata['group'] for field in fields}, key=GROUPS.index):
        of_group = [field for field in fields if field.metadata['group'] == group]
        lines += ['', group, *(line for field in of_group for line in _help_on(field))]
    return '\n'.join(lines)


def _help_on(field: dataclasses.Field) -> list[str]:
    metadata, value_type = field.metadata, value_types(field)[0]
    short = f'-{metadata["short"]}, ' if metadata['short'] else '    '
    if value_type is bool:
        head = f'{short}--[no]{field.name}'
    elif metadata['choices'] is not None:
        head = f'{short}--{field.name} {"|".join(metadata["choices"])}'
    else:
        head = f'{short}--{field.name} {PLACEHOLDERS[value_type]}'
    text = metadata['help']
    if field.default not in (None, ()):
        text += f' (default: {as_text(field.default)})'
    return [*_wrap(head, 2), *_wrap(text, 10)]


def _wrap(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text, HELP_WIDTH, initial_indent=' ' * indent, subsequent_indent=' ' * indent
    )
