"""Fakes made of real pictures while training, and damage done to real and fake alike."""
