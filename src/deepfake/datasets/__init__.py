"""What networks are shown: views of crops, pairs, clips of tracks."""
