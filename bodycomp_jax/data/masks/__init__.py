"""Masks of tissues and of vertebrae, on the pixels of their images; formats by nibabel, pydicom."""
