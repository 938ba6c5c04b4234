import numpy as np
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.config import SliceSelectionConfig, from_values
from bodycomp_jax.data import phantom, synthetic
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.data.synthetic import segmentation_sets, slice_selection_sets
from bodycomp_jax.errors import InputError

ALONE = tiny_config(synthetic=True, network_size=SIDE)
MIXED = tiny_config(mix_synthetic=0.25)


def in_this_process(function, items):
    return [function(item) for item in items]


def selection_config(**options):
    return from_values(SliceSelectionConfig, {'levels': ['L3', 'T12'], **options})


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Small validation sets."""
    for name, value in (('VAL_SLICES', 5), ('VAL_TRUNKS', 2), ('VAL_SPACING', 80.0)):
        monkeypatch.setattr(synthetic, name, value)


def test_each_row_is_another_slice_and_the_same_whenever_it_is_read():
    train_set, _ = segmentation_sets(None, ALONE, in_this_process)
    first = train_set.read(np.array([0, 1, 10**12]))
    assert (first['image'].shape, first['image'].dtype) == ((3, SIDE, SIDE), np.int16)
    assert set(np.unique(first['mask'])) == {0, 1, 2, 3}
    assert (first['image'][0] != first['image'][1]).any()
    again = train_set.read(np.array([10**12, 1]))
    for name in ('image', 'mask'):
        np.testing.assert_array_equal(again[name], first[name][[2, 1]])


def test_another_seed_has_other_slices_and_the_same_validation_set():
    (first, val), (other, same_val) = (
        segmentation_sets(
            None, tiny_config(synthetic=True, network_size=SIDE, seed=s), in_this_process
        )
        for s in (0, 1)
    )
    seen = np.concatenate([x.read(np.arange(2))['image'] for x in (first, other, val)])
    assert len({image.tobytes() for image in seen}) == 6
    np.testing.assert_array_equal(
        val.read(np.arange(5))['image'], same_val.read(np.arange(5))['image']
    )


def test_rows_of_files_are_read_and_those_after_them_drawn(data_dir):
    files = open_sets(data_dir, MIXED)
    train_set, val_set = segmentation_sets(files, MIXED, in_this_process)
    assert (val_set, len(train_set)) == (files[1], 21)
    rows = training_batches(21, 8, 2, 0, 1, synthetic=MIXED.num_synthetic)[1]
    batch = train_set.read(rows)
    stored = rows < 21
    assert stored.sum() == 6
    alone, _ = segmentation_sets(None, ALONE, in_this_process)
    for name, array in files[0].read(rows[stored]).items():
        np.testing.assert_array_equal(batch[name][stored], array)
        np.testing.assert_array_equal(batch[name][~stored], alone.read(rows[~stored] - 21)[name])
    for part in (rows[stored], rows[~stored]):
        assert len(train_set.read(part)['image']) == len(part)


def test_synthetic_slices_take_the_type_of_those_in_files(data_dir, tmp_path):
    for path in data_dir.glob('*.npy'):
        array = np.load(path)
        np.save(tmp_path / path.name, array.astype('f4') if 'images' in path.name else array)
    train_set, _ = segmentation_sets(open_sets(tmp_path, MIXED), MIXED, in_this_process)
    assert train_set.read(np.array([0, 21]))['image'].dtype == np.float32


@pytest.mark.parametrize(('epochs', 'first'), [(2, [0, 3, 6, 9]), (4, [0, 1, 3, 4])])
def test_slices_of_several_epochs_are_drawn_once(data_dir, epochs, first):
    config = tiny_config(mix_synthetic=0.25, synthetic_epochs=epochs, batches_per_epoch=3)
    drawn = []

    def recorded(function, items):
        drawn.extend(seed - (2 << 64) for seed in items)
        return in_this_process(function, items)

    files = open_sets(data_dir, config)
    train_set, _ = segmentation_sets(files, config, recorded)
    without, _ = segmentation_sets(files, MIXED, in_this_process)
    places, seen = {}, []
    for epoch in (1, 2, 3, 4):
        batches = training_batches(21, 8, 3, 0, epoch, synthetic=2)
        seen.append(set())
        for rows, batch in zip(batches, ReadAhead(train_set.read, batches, times=3), strict=True):
            is_drawn = rows >= 21
            for place, image, mask in zip(
                np.flatnonzero(is_drawn), batch['image'][is_drawn], batch['mask'][is_drawn],
                strict=True,
            ):  # fmt: skip
                seen[-1].add(image.tobytes())
                assert places.setdefault(image.tobytes(), place) == place
                assert (mask > 0).any()
            stored = without.read(rows[~is_drawn])
            np.testing.assert_array_equal(batch['image'][~is_drawn], stored['image'])
    names = {
        without.read(np.array([21 + number]))['image'].tobytes(): number
        for number in range(first[-1] + 6)
    }
    assert [sorted(names[image] for image in images) for images in seen] == [
        list(range(number, number + 6)) for number in first
    ]
    assert sorted(drawn) == list(range(first[-1] + 6))
    train_set.validate()
    assert f', drawn while training, each seen in {epochs} epochs (0.0 GB' in train_set.describe()


def test_a_run_that_continues_reads_the_same_slices():
    config = tiny_config(
        synthetic=True, network_size=SIDE, synthetic_epochs=3, batches_per_epoch=2, batch_size=4
    )
    whole, continued = (segmentation_sets(None, config, in_this_process)[0] for _ in range(2))
    rows = np.arange(32).reshape(8, 4)
    batches = [whole.read(of_batch) for of_batch in rows]
    for of_batch, batch in zip(rows[5:], batches[5:], strict=True):
        np.testing.assert_array_equal(continued.read(of_batch)['image'], batch['image'])


def test_slices_that_the_memory_does_not_hold_are_refused(monkeypatch):
    monkeypatch.setattr(synthetic, 'available_bytes', lambda: 10**6)
    config = tiny_config(synthetic=True, network_size=SIDE, synthetic_epochs=2)
    train_set, _ = segmentation_sets(None, config, in_this_process)
    with pytest.raises(
        InputError, match=r'--synthetic_epochs=2: the slices of an epoch take 0.0 GB'
    ):
        train_set.validate()


def test_a_set_in_files_validates_what_is_trained_on_synthetic_slices_alone(data_dir):
    config = tiny_config(synthetic=True)
    files = open_sets(data_dir, config)
    train_set, val_set = segmentation_sets(files, config, in_this_process)
    val_set.validate()
    assert (len(train_set), train_set.image_shape, val_set) == (0, (SIDE, SIDE), files[1])


def test_without_a_share_the_sets_are_those_in_files(data_dir):
    files = open_sets(data_dir, tiny_config())
    assert segmentation_sets(files, tiny_config(), in_this_process) == files


def test_the_fingerprint_is_that_of_the_files_and_of_what_is_drawn(data_dir, monkeypatch):
    files = open_sets(data_dir, MIXED)
    train_set, _ = segmentation_sets(files, MIXED, in_this_process)
    train_set.validate()
    first = train_set.fingerprint()
    assert first.keys() == {'images', 'masks', 'synthetic'}
    assert '; with 2 of 8 in each batch synthetic slices of 32 x 32' in train_set.describe()
    paint = phantom.draw_slice
    monkeypatch.setattr(phantom, 'draw_slice', lambda *a: (paint(*a)[0] + 1, paint(*a)[1]))
    train_set.validate()
    assert train_set.fingerprint()['synthetic'] != first['synthetic']
    assert train_set.fingerprint()['images'] == first['images']


def test_slices_at_any_height_have_the_offsets_of_their_subject():
    config = selection_config(synthetic=True)
    train_set, val_set = slice_selection_sets(None, config, in_this_process)
    batch = train_set.read(np.arange(6))
    assert (batch['image'].shape, batch['image'].dtype) == ((6, 256, 256), np.uint8)
    assert (batch['offset'].shape, batch['offset'].dtype) == ((6, 2), np.float32)
    assert batch['image'].max() > 200
    assert ((batch['offset'][:, 0] - batch['offset'][:, 1]) > 50).all()  # T12 is above L3
    assert np.ptp(batch['offset'][:, 0]) > 100
    assert list(val_set.series) == ['subject_0', 'subject_1']
    rows = val_set.series['subject_1']
    assert rows[-1] == len(val_set) - 1
    np.testing.assert_allclose(np.diff(val_set.offsets[rows, 0]), 80, rtol=1e-5)
    assert '2 subjects' in val_set.describe()


def test_a_random_slice_lies_in_the_trunk_of_its_subject():
    hu, offsets = phantom.draw_slice_with_offsets(5, 64)
    trunk = phantom.draw(5, 64, 4.0)
    differences = np.abs(trunk.hu.astype(float) - hu).mean((1, 2))
    z = offsets['L3'] + trunk.levels['L3']
    assert abs(trunk.z[differences.argmin()] - z) < 4


@pytest.mark.parametrize(
    ('sets', 'config', 'message'),
    [
        (
            segmentation_sets,
            tiny_config(synthetic=True, thoracic_model=True),
            '--thoracic_model: s',
        ),
        (
            segmentation_sets,
            tiny_config(mix_synthetic=0.5, apply_window_function=False),
            '--noapply_window_function: synthetic slices are of the abdomen, in HU; leave it out',
        ),
        (
            slice_selection_sets,
            selection_config(synthetic=True, levels=['L3', 'T3']),
            '--levels=L3,T3: synthetic subjects have the levels .*, not T3; leave it out',
        ),
        (
            slice_selection_sets,
            selection_config(synthetic=True, reference='inferior'),
            '--reference=inferior: synthetic slices have the offsets of the middle',
        ),
    ],
)
def test_networks_that_synthetic_slices_cannot_train_are_refused(sets, config, message):
    with pytest.raises(InputError, match=message):
        sets(None, config, in_this_process)
