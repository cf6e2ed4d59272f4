"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in the input. The message is one line that names the file or key and the reason."""
