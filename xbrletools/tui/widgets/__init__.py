"""What screens are made of. A screen gives a widget what to show; a widget does not import any screen."""
