"""Trust: the one room where stored bytes become objects; every unpickler of the project is here."""
