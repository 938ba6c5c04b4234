"""The host side: files, order and read-ahead, in numpy alone."""
