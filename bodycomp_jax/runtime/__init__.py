"""Infrastructure of all programs: flags, messages, files, devices and processes; no networks."""
