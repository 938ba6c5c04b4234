"""The layout as a test: imports go down only, and each tool has one home."""

import ast

import pytest
from helpers import ROOT

FLOORS = {
    'bodycomp_jax': 0,
    'bodycomp_jax.config': 1,
    'bodycomp_jax.ct': 0,
    'bodycomp_jax.errors': 0,
    'bodycomp_jax.cluster': 1,
    'bodycomp_jax.models': 2,
    'bodycomp_jax.models.convolution': 1,
    'bodycomp_jax.models.norm': 1,
    'bodycomp_jax.models.pooling': 1,
    'bodycomp_jax.levels': 0,
    'bodycomp_jax.roofline': 3,
    'bodycomp_jax.models.predictors': 3,
    'bodycomp_jax.data': 2,
    'bodycomp_jax.data.images': 1,
    'bodycomp_jax.data.npy': 1,
    'bodycomp_jax.data.phantom': 1,
    'bodycomp_jax.data.phantom_series': 3,
    'bodycomp_jax.training': 2,
    'bodycomp_jax.training.feed': 3,
    'bodycomp_jax.training.segmentation': 3,
    'bodycomp_jax.training.slice_selection': 3,
    'bodycomp_jax.training.state': 3,
    'bodycomp_jax.models.keras_import': 4,
    'bodycomp_jax.checkpoint': 5,
    'bodycomp_jax.training.loop': 6,
    'bodycomp_jax.benchmark': 7,
    'bodycomp_jax.cli': 7,
}
BIN = 8
HOMES = {
    'orbax': {'bodycomp_jax/checkpoint.py'},
    'tensorboardX': {'bodycomp_jax/training/logs.py'},
    'absl': {'bodycomp_jax/cli.py'},
    'fcntl': {'bodycomp_jax/training/lock.py'},
    'h5py': {'bodycomp_jax/models/keras_import.py'},
    'rich': {'bodycomp_jax/training/logs.py'},
    'PIL': {'bodycomp_jax/data/images.py', 'bodycomp_jax/training/panels.py', 'bin/demo.py'},
}
SHARDING = {
    'pmap', 'shard_map', 'psum', 'pmean', 'all_gather', 'axis_index', 'Mesh', 'make_mesh',
    'NamedSharding', 'PartitionSpec', 'make_array_from_process_local_data',
}  # fmt: skip
PROCESSES = {'distributed', 'multihost_utils', 'broadcast_one_to_all', 'process_allgather'}
SOURCES = sorted([*ROOT.glob('bodycomp_jax/**/*.py'), *ROOT.glob('bin/*.py')])


def imports_of(path):
    """Dotted names that a file imports; from-imports with the name that is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def floor_of(name):
    """The floor of the longest prefix of a dotted name that has one."""
    while name not in FLOORS:
        name = name.rpartition('.')[0]
    return FLOORS[name]


def module_of(path):
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    floor = BIN if path.parent.name == 'bin' else floor_of(module_of(path))
    for name in imports_of(path):
        if name.startswith('bodycomp_jax.'):
            assert floor_of(name) < floor, f'{name} is not below {module_of(path)}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tools_stay_in_their_homes(path):
    where = str(path.relative_to(ROOT))
    for name in imports_of(path):
        tool = name.split('.')[0]
        assert where in HOMES.get(tool, {where}), f'{where} imports {tool}'
        if where.startswith('bodycomp_jax/data'):
            assert tool not in ('jax', 'flax', 'optax')
    used = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
    used |= {name.rpartition('.')[2] for name in imports_of(path)}
    if where != 'bodycomp_jax/training/parallel.py':
        assert not used & SHARDING
    if where != 'bodycomp_jax/cluster.py':
        assert not used & PROCESSES


def test_nothing_is_unpickled():
    for path in SOURCES:
        for name in imports_of(path):
            assert name.split('.')[0] not in ('pickle', 'dill', 'cloudpickle', 'joblib', 'marshal')
        assert 'allow_pickle=True' not in path.read_text()


def test_each_module_has_a_first_line_that_says_what_it_is():
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
