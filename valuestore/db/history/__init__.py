"""History: what ran, for people. Reads rows; runs no user code and loads no payload."""
