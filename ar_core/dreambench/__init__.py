"""DreamBench (Ruiz et al. 2023): the data set, its encoders, its scores, and their report."""
