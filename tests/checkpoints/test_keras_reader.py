import errno
import io
import json
import os
import re
import warnings
import zipfile

import h5py
import numpy as np
import pytest
from keras_files import (
    architecture,
    convert,
    densenet_layers,
    unet_layers,
    weighted,
    write_keras_2,
    write_keras_3,
)

from bodycomp_jax.checkpoints import keras_file, keras_network, keras_reader
from bodycomp_jax.errors import InputError, RunError

WEIGHT = 'final_conv/final_conv/bias:0'  # of the U-Net, in the file
SECRET = np.array([1, 2, 3, 4], '<f4')


@pytest.fixture
def unet_file(tmp_path):
    return write_keras_2(tmp_path / 'unet.hdf5', unet_layers())


def answer(path):
    """What the reader answers for a file, in this process."""
    with open(path, 'rb') as stream:
        return keras_reader.answer(stream, os.path.getsize(path))[0]


def refusal(path):
    """Why the reader refuses a file."""
    return answer(path)['refused']


def external_storage(file, folder):
    (folder / 'secret').write_bytes(SECRET.tobytes())
    file.create_dataset(WEIGHT, (4,), 'f4', external=[(str(folder / 'secret'), 0, 16)])


def pipe_as_external_storage(file, folder):
    os.mkfifo(folder / 'pipe')
    file.create_dataset(WEIGHT, (4,), 'f4', external=[(str(folder / 'pipe'), 0, 16)])


def external_link(file, folder):
    with h5py.File(folder / 'other.h5', 'w') as other:
        other['secret'] = SECRET
    file[WEIGHT] = h5py.ExternalLink(str(folder / 'other.h5'), '/secret')


def external_link_to_a_pipe(file, folder):
    os.mkfifo(folder / 'pipe')
    file[WEIGHT] = h5py.ExternalLink(str(folder / 'pipe'), '/secret')


def external_group(file, folder):
    del file['final_conv']
    with h5py.File(folder / 'other.h5', 'w') as other:
        other['bias:0'] = SECRET
    file['final_conv'] = h5py.ExternalLink(str(folder / 'other.h5'), '/')


def soft_link(file, folder):
    external_link(file, folder)
    file.move(WEIGHT, 'elsewhere')
    file[WEIGHT] = h5py.SoftLink('/elsewhere')


def virtual_data_set(file, folder):
    with h5py.File(folder / 'other.h5', 'w') as other:
        other['secret'] = SECRET
    layout = h5py.VirtualLayout((4,), 'f4')
    layout[:] = h5py.VirtualSource(str(folder / 'other.h5'), 'secret', (4,))
    file.create_virtual_dataset(WEIGHT, layout)


@pytest.mark.parametrize(
    'put',
    [
        external_storage,
        pipe_as_external_storage,
        external_link,
        external_link_to_a_pipe,
        external_group,
        soft_link,
        virtual_data_set,
    ],
)
def test_links_out_of_a_file_are_refused(tmp_path, unet_file, put):
    with h5py.File(unet_file, 'r+') as file:
        del file[WEIGHT]
        put(file, tmp_path)
    assert 'final_conv' in refusal(unet_file)
    assert 'is a link to another place or file, which is never followed' in refusal(unet_file)


def test_a_group_of_weights_elsewhere_is_refused(tmp_path, unet_file):
    path = tmp_path / 'net.hdf5'
    with h5py.File(path, 'w') as file:
        file['model_weights'] = h5py.ExternalLink(str(unet_file), '/')
    assert 'model_weights is a link to another place' in refusal(path)
    with h5py.File(path, 'w') as file:
        file['layers'] = h5py.SoftLink('/nowhere')
    assert 'layers is a link to another place' in refusal(path)


def replace_reader(monkeypatch, code):
    """Runs other code in place of `answer` in the child, within its limits."""
    main = keras_file.READER.replace('keras_reader.main', f'{code}; keras_reader.main')
    monkeypatch.setattr(keras_file, 'READER', main)


def test_the_child_can_open_no_other_file(unet_file, monkeypatch):
    replace_reader(monkeypatch, 'keras_reader.answer = lambda *_: open("/")')
    with pytest.raises(RunError, match='Too many open files'):
        keras_file.read(unet_file)


BOMBS = {
    'compressed': {'shape': (20_000, 20_000), 'chunks': (20_000, 1_000), 'compression': 'gzip'},
    'never written': {'shape': (1 << 40,)},
    'one chunk': {'shape': (4,), 'chunks': (1 << 28,), 'maxshape': (None,)},
}


@pytest.mark.parametrize('bomb', BOMBS)
def test_weights_out_of_proportion_to_their_file_are_refused(unet_file, bomb):
    with h5py.File(unet_file, 'r+') as file:
        del file[WEIGHT]
        file.create_dataset(WEIGHT, dtype='f4', **BOMBS[bomb])
    assert 'its weights take' in refusal(unet_file)


def test_one_weight_under_many_names_is_counted_each_time(unet_file):
    with h5py.File(unet_file, 'r+') as file:
        shared = file.create_dataset('shared', (1 << 22,), 'f4')
        names = [f'kernel_{i}:0' for i in range(10)]
        for name in names:
            file['final_conv'][name] = shared
        file['final_conv'].attrs['weight_names'] = [name.encode() for name in names]
    assert 'its weights take' in refusal(unet_file)


def zip_with(path, members, **changes):
    """Writes a zip file, compressed, with these changes to the entry of each member."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
        for info in archive.filelist:
            for attribute, value in changes.items():
                setattr(info, attribute, value)
    return path


def test_zip_bombs_are_refused(tmp_path):
    zeros = bytes(keras_reader.max_bytes(1 << 20))
    path = zip_with(tmp_path / 'net.keras', [('config.json', '{}'), ('model.weights.h5', zeros)])
    assert f'model.weights.h5 takes {len(zeros)} bytes, more than' in refusal(path)
    text = b' ' * (keras_reader.MAX_TEXT + 1)
    path = zip_with(tmp_path / 'net.keras', [('config.json', text), ('model.weights.h5', b'')])
    assert f'config.json takes {len(text)} bytes, more than' in refusal(path)


def test_members_that_hold_more_than_they_say_are_not_unpacked_whole(tmp_path):
    members = [('config.json', b'{"config": []}' + bytes(1 << 20)), ('model.weights.h5', b'x')]
    path = zip_with(tmp_path / 'net.keras', members, file_size=14)
    assert 'damaged' in answer(path)


def test_encrypted_and_repeated_members_are_refused(tmp_path):
    members = [('config.json', '{}'), ('model.weights.h5', 'x')]
    path = zip_with(tmp_path / 'net.keras', members, flag_bits=1)
    assert 'config.json in this file is encrypted' in refusal(path)
    path = zip_with(tmp_path / 'net.keras', [*members, members[1]])
    assert 'model.weights.h5 in this file is there 2 times' in refusal(path)


def test_a_million_layers_are_refused(tmp_path):
    with h5py.File(tmp_path / 'net.hdf5', 'w', libver='latest') as file:
        file.attrs['layer_names'] = np.full(1_000_000, b'layer')
    assert 'it has 1000000 names in layer_names' in refusal(tmp_path / 'net.hdf5')
    layers = {f'conv_{i}': weighted(1, 1, 1, 1) for i in range(6)}
    path = write_keras_3(tmp_path / 'net.weights.h5', layers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_reader, 'MAX_NAMES', 5)
        assert 'it has 6 layers, more than the 5' in refusal(path)


@pytest.mark.parametrize('name', ['conv2d_' + '9' * 5_000, 'conv\n\x1b[31m', ''])
@pytest.mark.parametrize('write', [write_keras_2, write_keras_3])
def test_names_that_keras_does_not_give_are_refused(tmp_path, write, name):
    layers = {'compression_0_conv_0': weighted(3, 3, 1, 4)}
    path = write(tmp_path / 'net.h5', layers)
    with h5py.File(path, 'r+') as file:
        if write is write_keras_2:
            file.attrs['layer_names'] = [name.encode()]
        else:
            file['layers/conv2d/vars'].attrs['name'] = name
    message = refusal(path)
    assert f'it has the name {name[:40]!a} of {len(name)} characters' in message
    assert message.isprintable()


def test_a_layer_that_is_listed_twice_is_refused(tmp_path, unet_file):
    with h5py.File(unet_file, 'r+') as file:
        names = file.attrs['layer_names']
        file.attrs['layer_names'] = [*names, names[-1]]
    with pytest.raises(InputError, match='the kernel of layer final_conv is listed twice'):
        keras_file.read(unet_file)


NO_ARCHITECTURE = {
    'no object': '[]',
    'no layers': '{"config": {}}',
    'layers are a number': '{"config": {"layers": 3}}',
    'layers are text': '{"config": "text"}',
    'a layer is a number': '{"config": [3]}',
    'options are a list': '{"config": [{"class_name": "Dense", "config": []}]}',
    'epsilon is text': json.dumps(
        {'config': [{'class_name': 'BatchNormalization', 'config': {'epsilon': 'small'}}]}
    ),
    'long number': '{"config": [{"class_name": "x", "config": {"epsilon": ' + '9' * 5_000 + '}}]}',
    'deep': '[' * 100_000,
    'deep models': '{"config": {"layers": [' * 400 + ']}}' * 400,
    'not text': np.bytes_(b'\xff\xfe'),
}


@pytest.mark.parametrize('wrong', NO_ARCHITECTURE)
def test_architectures_of_other_types_are_refused(tmp_path, wrong):
    path = write_keras_2(tmp_path / 'net.hdf5', unet_layers(), NO_ARCHITECTURE[wrong])
    assert re.match('its architecture is not|maximum recursion depth', answer(path)['damaged'])


def test_an_architecture_that_is_no_text_or_too_long_is_refused(tmp_path, monkeypatch):
    path = write_keras_2(tmp_path / 'net.hdf5', unet_layers(), np.arange(3))
    assert answer(path) == {'damaged': 'model_config is not a string'}
    write_keras_2(path, unet_layers(), architecture(*['relu'] * 20))
    with monkeypatch.context() as patch:
        patch.setattr(keras_reader, 'MAX_NAMES', 19)
        assert 'the number of layers in its architecture, more than the 19' in refusal(path)
    monkeypatch.setattr(keras_reader, 'MAX_TEXT', 1_000)
    assert 'bytes, more than the 1000' in refusal(path)


def zeros(path):
    with open(path, 'r+b') as file:
        file.seek(4096)
        file.write(bytes(4096))


def test_a_file_on_which_libhdf5_never_ends_is_refused(tmp_path, monkeypatch, capsys):
    path = write_keras_2(tmp_path / 'net.hdf5', densenet_layers())
    zeros(path)
    monkeypatch.setattr(keras_file, 'SECONDS_OF_COMPUTING', 1)
    code, error = convert(monkeypatch, capsys, path, tmp_path / 'new')
    assert code == 2
    assert 'copy it again' in error
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('does', 'limit', 'message'),
    [
        ('time.sleep(60)', 'SECONDS', 'not read within 1 s; copy it to a faster disk'),
        ('sum(iter(int, 1))', 'SECONDS_OF_COMPUTING', 'within 1 s of computing, so it is damaged'),
        ('os.abort()', 'SECONDS', 'was ended by SIGABRT; free some memory'),
        ('np.ones(1 << 31)', 'SECONDS', 'it needs more memory than any sound file'),
    ],
)
def test_a_reader_without_end_is_ended(unet_file, monkeypatch, does, limit, message):
    monkeypatch.setattr(keras_file, limit, 1)
    code = f'import os, time; import numpy as np; keras_reader._contents = lambda *_: {does}'
    replace_reader(monkeypatch, code)
    with pytest.raises(InputError, match=message):
        keras_file.read(unet_file)


def test_a_file_that_is_open_for_writing_elsewhere_is_read(unet_file):
    with h5py.File(unet_file, 'r+', libver='latest'):
        assert keras_network.read_options(unet_file)['num_convs'] == 1


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(InputError, match='not a regular file'):
        keras_file.read(tmp_path / 'pipe')


class FailingDisk(io.FileIO):
    """A file that can be opened and not be read."""

    def readinto(self, buffer):
        raise OSError(errno.EIO, 'Input/output error')


def test_damage_is_not_what_the_disk_does_at_the_moment(unet_file, monkeypatch):
    with FailingDisk(unet_file) as stream:
        document, _ = keras_reader.answer(stream, 1)
    assert document == {'errno': errno.EIO}
    replace_reader(monkeypatch, f'keras_reader.answer = lambda *_: ({document}, [])')
    with pytest.raises(InputError, match=r'cannot be read \(Input/output error; the disk or the'):
        keras_file.read(unet_file)
