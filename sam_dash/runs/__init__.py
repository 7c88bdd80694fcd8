"""From a specification to stored measurements."""
