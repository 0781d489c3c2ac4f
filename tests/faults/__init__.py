"""What makes real servers late, refused, cut, throttled or torn."""
