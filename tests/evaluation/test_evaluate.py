"""From networks and readers to tables and a page."""

import json
import shutil

import numpy as np
import pytest
from fake_candidates import answer_with, configuration, keras, labelled_images, segmenter
from helpers import read_rows

from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation import measure
from bodycomp_jax.evaluation.evaluate import evaluate_candidates

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')


def write_set(folder, val, train=4):
    """A set of the segmentation network without `slices.csv`."""
    folder.mkdir(exist_ok=True)
    for split, count in (('train', train), ('val', val)):
        images, masks = labelled_images(count, seed=len(split))
        np.save(folder / f'{split}_images.npy', images)
        np.save(folder / f'{split}_masks.npy', masks)
    return folder


def write_patients(folder, of_split):
    """`slices.csv` with the patient of each slice, {split: names}."""
    lines = ['split,row,patient,series,z,row_spacing,column_spacing']
    for split, names in of_split.items():
        lines += [
            f'{split},{row},{name},series of {name},{10 * row},0.5,2'
            for row, name in enumerate(names)
        ]
    (folder / 'slices.csv').write_text('\n'.join(lines) + '\n')


def evaluate(data_dir, output_dir, **options):
    """The summary of an evaluation."""
    evaluate_candidates(configuration(data_dir, output_dir, **options))
    return json.loads((output_dir / 'summary.json').read_text())


@pytest.fixture
def shifted(monkeypatch):
    """Networks that shift labels by 0, 1 and 2 pixels."""
    networks = {name: segmenter(shift) for shift, name in enumerate(('exact', 'near', 'far'))}
    return answer_with(monkeypatch, networks)


def test_the_numbers_are_those_of_the_training(data_dir, finished_run, tmp_path):
    found = evaluate(data_dir, tmp_path / 'out', models=(str(finished_run.run_dir),), pixel_mm=2)
    rows = read_rows(finished_run.run_dir / 'metrics.csv')
    best = min(rows, key=lambda row: float(row['val_loss']))
    (numbers,) = found['as_in_training'].values()
    assert {name: float(best[name]) for name in numbers} == pytest.approx(numbers, abs=1e-6)
    examples = read_rows(tmp_path / 'out' / 'examples.csv')
    for tissue in TISSUES:
        dice = [float(row[f'{tissue}_dice']) for row in examples if row[f'{tissue}_dice']]
        assert np.mean(dice) == pytest.approx(numbers[f'slice_dice_{tissue}'], abs=1e-8)


def test_the_better_network_wins_and_the_page_says_so_first(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=20)
    found = evaluate(data, tmp_path / 'out', models=('exact', 'far'))
    assert len(found['verdict']) == len(TISSUES)
    for sentence, tissue in zip(found['verdict'], TISSUES, strict=True):
        assert sentence.startswith(f'exact is better than far for {tissue.replace("_", " ")} by 0.')
        assert '20 slices' in sentence
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.index(found['verdict'][0]) < page.index('<h2>')
    assert 'The data do not name patients: each slice is a unit of its own.' in page
    assert '<td><b>1.000 (1.000 to 1.000)</b></td>' in page
    assert 'distances and areas are in pixels' in page
    figures = {path.name for path in (tmp_path / 'out' / 'figures').iterdir()}
    assert {'00_agreement_muscle_area_0.svg', '12_muscle_Dice_by_area.svg'} <= figures
    assert page.count('<svg') == len(figures)
    pictures = len([*(tmp_path / 'out' / 'pictures').iterdir()])
    assert page.count('<img') == pictures >= 24


def test_one_network_has_means_and_no_winner(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=3)
    found = evaluate(data, tmp_path / 'out', models=('near',), pixel_mm=1)
    assert found['verdict'][0].startswith('Muscle: Dice 0.')
    assert '<b>' not in (tmp_path / 'out' / 'report.html').read_text()


def test_patients_are_the_units(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=4)
    write_patients(data, {'val': ['a', 'b', 'a', 'a'], 'train': ['c'] * 4})
    found = evaluate(data, tmp_path / 'out', models=('near', 'far'))
    assert (found['unit'], found['units'], found['examples']) == ('patient', 2, 4)
    examples = read_rows(tmp_path / 'out' / 'examples.csv')
    of_a = [
        float(row['muscle_dice'])
        for row in examples
        if (row['patient'], row['candidate']) == ('a', 'near')
    ]
    patients = read_rows(tmp_path / 'out' / 'patients.csv')
    assert [row['patient'] for row in patients] == ['a', 'a', 'b', 'b']
    assert float(patients[0]['muscle_dice']) == pytest.approx(np.mean(of_a))
    assert 'fewer than 6 show nothing' in found['verdict'][0]
    hd95 = float(examples[0]['muscle_hd95_mm'])
    assert hd95 == pytest.approx(2)  # a pixel to the right


def test_each_patient_is_measured_by_the_network_that_did_not_see_it(monkeypatch, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    write_patients(data, {'train': ['a', 'b', 'b', 'c'], 'val': ['a', 'd']})
    networks = {f'run_{fold}': segmenter(fold, folds=2, fold=fold) for fold in (0, 1)}
    answer_with(monkeypatch, networks)
    found = evaluate(data, tmp_path / 'out', models=('run_{fold}',), folds=2)
    rows = read_rows(tmp_path / 'out' / 'examples.csv')
    assert len(rows) == 6
    dice = {}
    for row in rows:
        dice.setdefault(row['patient'], set()).add(row['muscle_dice'] == '1')
    assert [len(each) for each in dice.values()] == [1] * 4  # by one network each
    assert {*map(bool, *zip(*map(tuple, dice.values()), strict=True))} == {True, False}
    assert found['warnings'] == []
    one = evaluate(data, tmp_path / 'one', models=('run_1',), folds=2, fold=1)
    assert one['examples'] == sum(row['muscle_dice'] != '1' for row in rows)


def test_readers_are_compared_with_the_first(monkeypatch, tmp_path):
    data = write_set(tmp_path / 'data', val=8)
    answer_with(monkeypatch, {'near': segmenter(1)})
    readers = []
    for name, shift in (('first', 0), ('second', 2)):
        readers.append(tmp_path / name)
        readers[-1].mkdir()
        masks = np.load(data / 'val_masks.npy')
        np.save(readers[-1] / 'val_masks.npy', np.roll(masks, shift, axis=-1))
    masks = tuple(map(str, readers))
    found = evaluate(data, tmp_path / 'readers', masks=masks)
    assert [*found['as_in_training']] == ['second']
    assert found['verdict'][0].startswith('Muscle: Dice 0.')
    both = evaluate(data, tmp_path / 'both', masks=masks, models=('near',))
    assert all(sentence.startswith('near is better than second') for sentence in both['verdict'])
    assert both['agreement']['muscle_area_pixels']['second']['icc_2_1'] == pytest.approx(1)


def test_readers_of_other_images_are_refused(monkeypatch, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    other = write_set(tmp_path / 'other', val=2)
    np.save(other / 'val_images.npy', np.zeros((2, 32, 32), np.int16))
    with pytest.raises(InputError, match='other images than those of'):
        evaluate(data, tmp_path / 'out', masks=(str(data), str(other)))


def test_labels_of_readers_are_checked(monkeypatch, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    (tmp_path / 'reader').mkdir()
    masks = np.load(data / 'val_masks.npy')
    path = tmp_path / 'reader' / 'val_masks.npy'
    readers = (str(data), str(tmp_path / 'reader'))
    np.save(path, masks)
    evaluate(data, tmp_path / 'out', masks=readers)
    np.save(path, masks // 2)
    with pytest.raises(InputError, match=r'was begun with data=.*--overwrite'):
        evaluate(data, tmp_path / 'out', masks=readers)
    np.save(path, masks * 3)
    with pytest.raises(InputError, match=r'reader/val_masks.npy: slice 0 has the labels'):
        evaluate(data, tmp_path / 'out', masks=readers)
    np.save(path, masks[:1])
    with pytest.raises(InputError, match='do not match'):
        evaluate(data, tmp_path / 'out', masks=readers)


def test_a_killed_run_continues(monkeypatch, shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=40)
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    evaluate(data, whole, models=('near', 'far'))
    journal = out / 'journal' / '1-of-1'
    journal.mkdir(parents=True)
    content = (whole / 'journal' / '1-of-1' / 'rows.jsonl').read_bytes()
    lines = content.splitlines(keepends=True)
    (journal / 'rows.jsonl').write_bytes(b''.join(lines[:2]) + lines[2][:50])
    measured, answered = [], measure.answered

    def counted(part, candidates, devices, batches):
        measured.append([len(rows) for rows in batches])
        return answered(part, candidates, devices, batches)

    monkeypatch.setattr(measure, 'answered', counted)
    evaluate(data, out, models=('near', 'far'))
    assert measured == [[16, 8]]  # of 40 slices 16 were done
    for name in ('examples.csv', 'patients.csv', 'summary.json', 'report.html'):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    measured.clear()
    evaluate(data, out, models=('near', 'far'), seed=1)
    assert measured == []


def test_other_networks_do_not_continue_a_run(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    evaluate(data, tmp_path / 'out', models=('near',))
    with pytest.raises(InputError, match=r'was begun with models=.*--overwrite'):
        evaluate(data, tmp_path / 'out', models=('far',))
    evaluate(data, tmp_path / 'out', models=('far',), overwrite=True)


def test_what_the_journal_cannot_have_is_refused(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    evaluate(data, tmp_path / 'out', models=('near',))
    path = tmp_path / 'out' / 'journal' / '1-of-1' / 'rows.jsonl'
    first, _ = path.read_text().splitlines()
    for rows in ('[]', '["AAAA"]', '["?"]', '[1]', '["", ""]'):
        path.write_text(f'{first}\n{{"name": "part 0, slices from 0", "rows": {rows}}}\n')
        with pytest.raises(InputError, match=r'not what this program wrote.*--overwrite'):
            evaluate(data, tmp_path / 'out', models=('near',))


def test_the_seed_alone_makes_no_winner(monkeypatch, tmp_path):
    networks = {'a': segmenter(0), 'b': segmenter(1, seed=1), 'c': segmenter(2, epochs=7)}
    answer_with(monkeypatch, networks)
    data = write_set(tmp_path / 'data', val=12)
    found = evaluate(data, tmp_path / 'out', models=('a', 'b', 'c'))
    muscle = [sentence for sentence in found['verdict'] if 'muscle' in sentence]
    assert 'a and b cannot be told apart' in muscle[0]
    assert 'only the seed of their training differs' in muscle[0]
    assert muscle[1].startswith('a is better than c for muscle')
    networks['b'] = keras(networks['b'])
    found = evaluate(data, tmp_path / 'again', models=('a', 'b'))
    assert found['verdict'][0].startswith('a is better than b')


def test_groups_are_on_the_page(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=4)
    write_patients(data, {'val': ['a', 'b', 'c', 'd']})
    table = tmp_path / 'groups.csv'
    table.write_text('patient,sex\na,F\nb,M\nc,F\n')
    found = evaluate(data, tmp_path / 'out', models=('near', 'far'), groups=str(table))
    assert [*found['groups']['sex']] == ['F', 'M', 'not given']
    assert found['groups']['sex']['F']['muscle_dice']['means']['near']['n'] == 2
    assert 'has no row for 1 of 4: d' in found['warnings'][0]
    assert '<h2>By sex</h2>' in (tmp_path / 'out' / 'report.html').read_text()


def test_data_that_do_not_fit(shifted, tmp_path):
    data = write_set(tmp_path / 'data', val=2)
    with pytest.raises(InputError, match=r'val_images.npy: cannot be opened'):
        evaluate(tmp_path / 'nowhere', tmp_path / 'out', models=('near',))
    with pytest.raises(InputError, match=r'test_images.npy'):
        evaluate(data, tmp_path / 'out', models=('near',), split='test')
    with pytest.raises(InputError, match='--labelled_slices has no effect'):
        evaluate(data, tmp_path / 'out', models=('near',), labelled_slices='x')
    for split in ('train', 'val'):
        for kind in ('images', 'masks'):
            array = np.load(data / f'{split}_{kind}.npy')
            np.save(data / f'{split}_{kind}.npy', array[:, :31, :31])
    with pytest.raises(InputError, match=r'31 x 31, but the network needs a multiple of 2'):
        evaluate(data, tmp_path / 'out', models=('near',))
    shutil.rmtree(data)
    assert not (tmp_path / 'out').exists()


def test_slices_that_one_of_the_networks_cannot_halve(monkeypatch, tmp_path):
    deep = {'compression_channels': (2,) * 7, 'decompression_channels': (2,) * 6}
    answer_with(monkeypatch, {'shallow': segmenter(0), 'deep': segmenter(1, **deep)})
    data = write_set(tmp_path / 'data', val=2)
    with pytest.raises(InputError, match=r'32 x 32, but the network needs a multiple of 64'):
        evaluate(data, tmp_path / 'out', models=('shallow', 'deep'))
