"""Models on disk: find the files, check and read them, name the base model.

Every parameter comes from a file or the load fails with a clear message.
"""
