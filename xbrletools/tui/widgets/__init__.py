"""What screens are made of. A screen gives a widget what to show. A widget does not import any screen."""
