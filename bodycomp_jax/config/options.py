"""Options: fields of dataclasses that are flags as well, from and to plain values."""

import dataclasses
import json
import types
import typing
from typing import Any

from bodycomp_jax.errors import InputError

MAX_SHOWN = 100  # characters of a value in a message
LEAST_FLOAT32, LARGEST_FLOAT32 = 2.0**-126, (2 - 2.0**-23) * 2.0**127
TYPE_NAMES = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    tuple[int, ...]: 'a list of whole numbers',
    tuple[str, ...]: 'a list of names',
}


def option(
    default: Any,
    help: str,
    *,
    group: str,
    short: str | None = None,
    choices: tuple[str, ...] | None = None,
    positional: bool = False,
    path: bool = False,
) -> Any:
    """A dataclass field that is also a flag and, if `positional`, a positional argument.

    In a `path` the shell's ~ is expanded.
    """
    metadata = {
        'help': help,
        'group': group,
        'short': short,
        'choices': choices,
        'positional': positional,
        'path': path,
    }
    return dataclasses.field(default=default, metadata=metadata)


def options(config_class: Any) -> list[dataclasses.Field]:
    """The fields of a config class that are flags, those of its network first."""
    found = []
    for field in dataclasses.fields(config_class):
        found += options(field.type) if dataclasses.is_dataclass(field.type) else [field]
    return found


def value_types(field: dataclasses.Field) -> tuple[Any, ...]:
    """The types of an option's values: one of `TYPE_NAMES`, and that of None if it may be unset."""
    return typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)


def from_values(config_class: Any, values: dict[str, Any]) -> Any:
    """The config with these `{option: value}`; options that are missing have their defaults.

    Values of other options are ignored, lists become tuples. Raises InputError for values of
    another type, or that the class refuses.
    """
    fields = {}
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            fields[field.name] = from_values(field.type, values)
        elif field.name in values:
            value = hashable(values[field.name])
            fits = any(_is_of_type(value, each) for each in value_types(field))
            check(fits, field.name, value, f'use {TYPE_NAMES[value_types(field)[0]]}')
            fields[field.name] = value
    return config_class(**fields)


def to_values(config: Any) -> dict[str, Any]:
    """`{option: value}` of a config, its network included, as plain JSON values."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= to_values(value) if dataclasses.is_dataclass(field.type) else {field.name: value}
    return json.loads(json.dumps(values))


def as_flag(name: str, value: Any) -> str:
    """An option as written on the command line."""
    if isinstance(value, bool):
        return f'--{name}' if value else f'--no{name}'
    return f'no --{name}' if value is None else f'--{name}={as_text(value)}'


def as_text(value: Any) -> str:
    """A value as written after its flag."""
    if isinstance(value, bool):
        return 'on' if value else 'off'
    return ','.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check(holds: Any, name: str, value: Any, remedy: str) -> None:
    """Raises InputError about an option unless something holds."""
    if not holds:
        given = as_flag(name, value)
        shown = given if len(given) <= MAX_SHOWN else f'{given[:MAX_SHOWN]}...'
        raise InputError(f'invalid {shown}: {remedy}')


def check_range(config: Any, name: str, most: int) -> None:
    """Raises InputError unless an option is in 1 to `most`."""
    value = getattr(config, name)
    check(0 < value <= most, name, value, f'use a number in 1..{most}')


def check_positive(config: Any, *names: str) -> None:
    """Raises InputError unless options are above 0 and finite, as float32 too."""
    for name in names:
        value = getattr(config, name)
        check(value > 0, name, value, 'use a positive number')
        check(value >= LEAST_FLOAT32, name, value, f'use at least {LEAST_FLOAT32:.1g}')
        check(value <= LARGEST_FLOAT32, name, value, f'use a finite number below {2.0**128:.1g}')


def check_choices(config: Any) -> None:
    """Raises InputError unless each option with choices is one of them."""
    for field in dataclasses.fields(config):
        choices = field.metadata.get('choices')
        value = getattr(config, field.name)
        if choices is not None and value is not None:
            check(value in choices, field.name, value, 'choose from ' + ', '.join(choices))


def hashable(value: Any) -> Any:
    """A value of an option, as JSON has it, with tuples for lists."""
    return tuple(value) if isinstance(value, list) else value


def _is_of_type(value: Any, wanted: Any) -> bool:
    """Whether a value is of one of `TYPE_NAMES`, or None; whole numbers are also floats."""
    if typing.get_origin(wanted) is tuple:
        of = typing.get_args(wanted)[0]
        return isinstance(value, tuple) and all(_is_of_type(each, of) for each in value)
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)
