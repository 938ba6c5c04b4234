"""From scans, masks and a table of patients to the data sets of the trainers."""
