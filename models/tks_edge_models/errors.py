"""The root of the errors that the models raise on purpose."""


class ModelError(ValueError):
    """A network, a neuron or an input that cannot be as asked; the message says what is allowed."""
