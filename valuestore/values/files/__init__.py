"""Files: what stands for files and folders outside, and what they stand on."""
