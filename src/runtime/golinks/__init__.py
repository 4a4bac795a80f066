"""What the services of golinks share."""
