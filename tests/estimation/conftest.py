"""Scans whose highest HU is their z, as the fake network reads it."""

import types

import fake_networks
import numpy as np
import pytest
import scan_files

from bodycomp_jax.estimation import method

L3 = 500.0
SPACING = 10
BODY = np.full((24, 32), -1000, np.int16)
BODY[4:20, 6:26] = -100
BODY[8:16, 10:20] = 60


def write_scan(folder, z, patient, **elements):
    """Writes a DICOM series with slices at these z."""
    folder.mkdir(parents=True)
    for i, mm in enumerate(z):
        hu = BODY.copy()
        hu[0, 0] = mm
        uids = {name: f'1.2.{patient}{name == "SeriesInstanceUID":d}' for name in (
            'StudyInstanceUID', 'SeriesInstanceUID', 'FrameOfReferenceUID')}  # fmt: skip
        scan_files.write_slice(
            folder / f'{i}.dcm',
            hu,
            z=float(mm),
            **{
                'PatientID': f'P{patient}',
                'SOPInstanceUID': f'1.2.{patient}.{i}',
                'PixelSpacing': [10, 10],
                **uids,
                **elements,
            },
        )


@pytest.fixture
def scans(tmp_path):
    """Three patients: one with L3, one whose scan ends above it, one with a damaged slice."""
    folder = tmp_path / 'scans'
    write_scan(folder / 'a', range(400, 700, SPACING), 1, PatientSize='1.6')
    write_scan(folder / 'b', range(560, 800, SPACING), 2)
    write_scan(folder / 'c', range(400, 700, SPACING), 3)
    damaged = np.full(BODY.shape, 15000, np.int16)
    scan_files.write_slice(
        folder / 'c' / '0.dcm', damaged, z=400.0, PatientID='P3', SOPInstanceUID='1.2.3.0',
        PixelSpacing=[10, 10], StudyInstanceUID='1.2.30', SeriesInstanceUID='1.2.31',
        FrameOfReferenceUID='1.2.30',
    )  # fmt: skip
    return folder


@pytest.fixture
def networks(monkeypatch):
    """Fake networks under the names 'tissues' and 'levels'; counts how often they are loaded."""
    loaded = types.SimpleNamespace(
        tissues=fake_networks.FakeSegmenter(),
        levels=fake_networks.FakeSelector({'L3': L3, 'T12': L3 + 90}),
        count=0,
        trained={'tissues': 'first', 'levels': 'first'},
    )

    def load(path, *, kind, all_devices):
        loaded.count += 1
        return getattr(loaded, path)

    monkeypatch.setattr(method.load, 'load_model', load)
    monkeypatch.setattr(method.load, 'fingerprint', lambda path, kind: loaded.trained[path])
    return loaded
