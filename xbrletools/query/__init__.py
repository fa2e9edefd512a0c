"""SQL over the tables of one capture, or of a folder of tables, in an engine that reads nothing else."""
