"""Packs: faces to learn from in a few files, and training from them alone, on a machine that has little else.

Only `building` needs the data tree. The rest imports no pydantic, PyAV, albumentations, accelerate or facenet-pytorch;
a test holds that.
"""
