"""Draws synthetic CT, trains both networks on it and shows what they see in new CT.

The networks are narrow, so that it takes minutes on a CPU.
"""

import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.checkpoints.run import load_model
from bodycomp_jax.data.phantom import slices, trunk
from bodycomp_jax.metrics import figures
from bodycomp_jax.runtime import flags

TRAIN, VAL, SHOWN, SIDE = 96, 16, 3, 128  # slices, slices, slices, pixels
TRAIN_BODIES, VAL_BODIES, SPACING = 40, 4, 20.0  # bodies, bodies, mm between slices
SEGMENTATION = '--name tissues -C 8,16,32,64 -M 32,16,8 -b 8 -e 24 -g 1'
SLICE_SELECTION = '--name level -l 0.003 --schedule cosine -e 4 --nb_layers_per_block 2 -g 1'


def main(argv):
    flags.parse(argv, __doc__)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='bodycomp_demo_'))
    for name in ('slices', 'bodies'):
        (folder / name).mkdir()
    slices.write_dataset(folder / 'slices', train=TRAIN, val=VAL, side=SIDE)
    print(f'{TRAIN + VAL} synthetic CT slices with labels: {folder / "slices"}')
    segmenter = _train('train_segmentation.py', folder / 'slices', folder / 'models', SEGMENTATION)
    _show_tissues(segmenter, folder / 'prediction.png')
    trunk.write_dataset(
        folder / 'bodies', train=TRAIN_BODIES, val=VAL_BODIES, side=SIDE, spacing=SPACING
    )
    print(f'\n{TRAIN_BODIES + VAL_BODIES} synthetic trunks: {folder / "bodies"}')
    selector = _train(
        'train_slice_selection.py', folder / 'bodies', folder / 'models', SLICE_SELECTION
    )
    _show_level(selector, folder / 'level.png')


def _train(program, data_dir, output_dir, flags):
    """Runs a trainer as a user would; returns its model."""
    path = pathlib.Path(__file__).with_name(program)
    command = [str(path), str(data_dir), str(output_dir), *flags.split()]
    print(f'$ python {shlex.join(command)}', flush=True)
    code = subprocess.run([sys.executable, *command], check=False).returncode
    if code:
        sys.exit(code)
    return load_model(output_dir / flags.split()[1])


def _show_tissues(model, path):
    """Segments bodies that are in neither split; prints their areas and draws them."""
    drawn = [slices.draw(TRAIN + VAL + i, SIDE) for i in range(SHOWN)]
    images, masks = map(np.stack, zip(*drawn, strict=True))
    probabilities, labels = model(images)
    spacing = (slices.FIELD_OF_VIEW / SIDE,) * 2
    for label, tissue in enumerate(model.config.tissues, start=1):
        found, true = (ct.area_cm2(x, label, spacing) for x in (labels, masks))
        areas = ', '.join(f'{f:.1f} ({t:.1f})' for f, t in zip(found, true, strict=True))
        print(f'{tissue.replace("_", " ")} in {SHOWN} new bodies, cm2 found (drawn): {areas}')
    batch = {'image': images, 'mask': masks}
    pictures = figures.segmentation(
        probabilities, batch, tissues=model.config.tissues, apply_window=True
    )
    Image.fromarray(np.concatenate(pictures)).save(path)
    print(f'picture: {path}')


def _show_level(model, path):
    """Finds L3 in bodies that are in neither split; prints and draws where it is."""
    pictures, places = [], []
    for i in range(SHOWN):
        body = trunk.draw(TRAIN_BODIES + VAL_BODIES + i, SIDE, SPACING)
        true, found = body.levels['L3'], model.find(body.hu, body.z)['L3']
        places.append(f'{found:.0f} ({true:.0f})')
        pictures += figures.curves(
            model(body.hu),
            offsets=(body.z - true)[:, None],
            series={f'new body {i + 1}': np.arange(len(body.z))},
            levels=model.config.levels,
            threshold=model.config.threshold,
        )
    print(
        f'L3 in {SHOWN} new bodies, mm above the lowest slice, found (drawn): {", ".join(places)}'
    )
    Image.fromarray(np.concatenate(pictures)).save(path)
    print(f'picture: {path}')


if __name__ == '__main__':
    flags.run(main)
