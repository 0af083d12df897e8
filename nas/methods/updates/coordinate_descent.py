"""One level by turns: alpha and the weights step one after the other on all training images."""

from nas.methods.updates.first_order import FirstOrder


class CoordinateDescent(FirstOrder):
    """The first-order gradient, on batches of the same images that the weights learn on.

    Liu et al. 2019, section 3.3: one loss over the union of both parts, descended in alpha and in the weights
    by turns. Of images each turn draws a batch of its own, of a text both have the same segment; what the
    paper's turns had, it does not say.
    """

    name = "coordinate_descent"
    one_level = True
