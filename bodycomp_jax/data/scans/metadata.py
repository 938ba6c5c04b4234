"""The metadata of a series, under the column names that the field uses."""

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.headers import OF_FRAMES, elements_of_frames
from bodycomp_jax.data.scans.reasons import naming
from bodycomp_jax.data.scans.tags import Elements, tags_of
from bodycomp_jax.errors import InputError

TEXTS = {
    'patient_id': 'PatientID',
    'study_date': 'StudyDate',
    'accession_number': 'AccessionNumber',
    'study_description': 'StudyDescription',
    'study_instance_uid': 'StudyInstanceUID',
    'series_instance_uid': 'SeriesInstanceUID',
    'modality': 'Modality',
    'reconstruction_kernel': 'ConvolutionKernel',
    'contrast_bolus_agent': 'ContrastBolusAgent',
    'manufacturer': 'Manufacturer',
    'manufacturer_model_name': 'ManufacturerModelName',
    'station_name': 'StationName',
    'series_description': 'SeriesDescription',
    'acquisition_date': 'AcquisitionDate',
    'acquisition_time': 'AcquisitionTime',
    'patient_position': 'PatientPosition',
}
NUMBERS = {
    'slice_thickness_mm': 'SliceThickness',
    'tube_current_mA': 'XRayTubeCurrent',
    'exposure_mAs': 'Exposure',
    'exposure_time_ms': 'ExposureTime',
    'kvp': 'KVP',
    'patient_size': 'PatientSize',  # m, but some write cm
    'patient_weight_kg': 'PatientWeight',
}
DOUBLES = {  # in multi-frame files
    'tube_current_mA': 'XRayTubeCurrentInmA',
    'exposure_mAs': 'ExposureInmAs',
    'exposure_time_ms': 'ExposureTimeInms',
}
AGENTS = 'ContrastBolusAgentSequence'  # in multi-frame files
DATE_DIGITS = 8  # of a date and time
COLUMNS = (*TEXTS, *NUMBERS)
KEYWORDS = (*TEXTS.values(), *NUMBERS.values())


def read_metadata(path: str) -> dict[str, str]:
    """A text for each of `COLUMNS` from a DICOM file, '' where it has none.

    Of a multi-frame file, the values of its first frame. Raises InputError if it cannot be read.
    """
    with naming(path), dicom_file.open_whole(path) as stream:
        tags = tags_of((*KEYWORDS, AGENTS)) + OF_FRAMES
        elements = dicom_file.parse(stream, tags, dicom_file.LAST_BEFORE_PIXELS).elements
        elements = next(iter(elements_of_frames(elements)), elements)
    texts = {column: elements.words(keyword) for column, keyword in TEXTS.items()}
    agents = [elements.covered_by(agent).words('CodeMeaning') for agent in elements.items(AGENTS)]
    texts['contrast_bolus_agent'] = texts['contrast_bolus_agent'] or '\\'.join(agents)
    when = elements.text('FrameAcquisitionDateTime')
    texts['acquisition_date'] = texts['acquisition_date'] or when[:DATE_DIGITS]
    texts['acquisition_time'] = texts['acquisition_time'] or when[DATE_DIGITS:]
    return texts | {column: _number(elements, column) for column in NUMBERS}


def _number(elements: Elements, column: str) -> str:
    """'' where there is none, or none that can be read."""
    try:
        value = elements.number(NUMBERS[column])
    except InputError:
        return ''
    if value is None and column in DOUBLES:
        value = elements.double(DOUBLES[column])
    return '' if value is None else f'{value:g}'
