"""Networks, one file a family, and the files they are kept in."""
