"""The programs: flags in, one call out."""
