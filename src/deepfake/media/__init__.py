"""Video files: probing, demuxing, decoding, sampling, shots. PyAV is used here alone."""
