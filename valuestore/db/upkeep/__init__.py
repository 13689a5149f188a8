"""What keeps a shared repository in order: who is at work, so that nobody does it twice."""
