"""Draws synthetic CT, trains a narrow network on it and shows what the network sees in new CT."""

import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

from bodycomp_jax import cli, ct
from bodycomp_jax.checkpoint import load_model
from bodycomp_jax.data import phantom
from bodycomp_jax.training import panels

TRAIN, VAL, SHOWN, SIDE = 96, 16, 3, 128  # slices, slices, slices, pixels
FLAGS = '--name demo -C 8,16,32,64 -M 32,16,8 -b 8 -e 24 -g 1'


def main(argv):
    cli.parse(argv, __doc__)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='bodycomp_demo_'))
    data_dir, output_dir = folder / 'data', folder / 'models'
    data_dir.mkdir()
    phantom.write_dataset(data_dir, train=TRAIN, val=VAL, side=SIDE)
    print(f'{TRAIN + VAL} synthetic CT slices: {data_dir}')

    program = pathlib.Path(__file__).with_name('train_segmentation.py')
    command = [str(program), str(data_dir), str(output_dir), *FLAGS.split()]
    print(f'$ python {shlex.join(command)}', flush=True)
    code = subprocess.run([sys.executable, *command], check=False).returncode
    if code:
        sys.exit(code)
    _show(load_model(output_dir / 'demo'), folder / 'prediction.png')


def _show(model, path):
    """Segments bodies that are in neither split; prints their areas and draws them."""
    drawn = [phantom.draw(TRAIN + VAL + i, SIDE) for i in range(SHOWN)]
    images, masks = map(np.stack, zip(*drawn, strict=True))
    probabilities, labels = model(images)
    spacing = (phantom.FIELD_OF_VIEW / SIDE,) * 2
    for label, tissue in enumerate(model.config.tissues, start=1):
        found, true = (ct.area_cm2(x, label, spacing) for x in (labels, masks))
        areas = ', '.join(f'{f:.1f} ({t:.1f})' for f, t in zip(found, true, strict=True))
        print(f'{tissue.replace("_", " ")} in {SHOWN} new bodies, cm2 found (drawn): {areas}')
    batch = {'image': images, 'mask': masks}
    pictures = panels.segmentation(
        probabilities, batch, tissues=model.config.tissues, apply_window=True
    )
    Image.fromarray(np.concatenate(pictures)).save(path)
    print(f'picture: {path}')


if __name__ == '__main__':
    cli.run(main)
