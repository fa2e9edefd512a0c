"""The screens, one module each, and the dialogs that open over them."""
